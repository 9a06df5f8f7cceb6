package org.rlhf4j.core.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.rlhf4j.core.RlhfException;

/**
 * A Hugging Face model folder, opened for reading: {@code config.json} and the weights. They are
 * taken from the first that is there of {@code model.safetensors}, the shards that {@code
 * model.safetensors.index.json} lists, {@code pytorch_model.bin} and the shards that {@code
 * pytorch_model.bin.index.json} lists: Hugging Face's own order. Needs no closing.
 *
 * <p>Whatever is missing or wrong is an {@link RlhfException} that names the file and the tensor.
 */
public final class ModelFolder {
  static final String CONFIG_FILE = "config.json";
  static final String GENERATION_CONFIG_FILE = "generation_config.json";
  static final String SINGLE_FILE = "model.safetensors";
  static final String INDEX_FILE = "model.safetensors.index.json";

  /**
   * A form that weights are stored in.
   *
   * @param single the name of a file that holds them all
   * @param index the name of the file that lists shards
   * @param ending of shards
   * @param open reads one file
   */
  private record Format(
      String single, String index, String ending, Function<Path, WeightFile> open) {}

  private static final List<Format> FORMATS =
      List.of(
          new Format(SINGLE_FILE, INDEX_FILE, ".safetensors", SafetensorsFile::open),
          new Format(
              "pytorch_model.bin", "pytorch_model.bin.index.json", ".bin", PickledFile::open));

  private static final List<String> CARRIED_FILES =
      List.of(
          GENERATION_CONFIG_FILE,
          "tokenizer.json",
          "tokenizer_config.json",
          "special_tokens_map.json",
          "added_tokens.json",
          "tokenizer.model",
          "vocab.json",
          "merges.txt",
          "chat_template.jinja",
          "chat_template.json");

  private final Path path;
  private final ObjectNode config;
  private final Map<String, WeightFile> files;
  private final Map<String, byte[]> carried;

  /** Null for a folder that holds the model itself. */
  private final AdapterFolder adapter;

  private ModelFolder(Path path, ObjectNode config, Map<String, WeightFile> files) {
    this.path = path;
    this.config = config;
    this.files = files;
    this.carried = readCarried(path);
    this.adapter = null;
  }

  /** A model with an adapter: the files beside the weights are the adapter's where it has them. */
  private ModelFolder(Path path, AdapterFolder adapter, ModelFolder base) {
    this.path = path;
    this.config = base.config;
    this.files = base.files;
    this.carried = new LinkedHashMap<>(base.carried);
    this.carried.putAll(readCarried(path));
    this.adapter = adapter;
  }

  private static Map<String, byte[]> readCarried(Path folder) {
    Map<String, byte[]> contents = new LinkedHashMap<>();
    for (String name : CARRIED_FILES) {
      Path file = folder.resolve(name);
      if (Files.isRegularFile(file)) {
        try {
          contents.put(name, Files.readAllBytes(file));
        } catch (IOException e) {
          throw StorageErrors.unreadable(file, e);
        }
      }
    }
    return contents;
  }

  /**
   * Opens a folder and checks its files. The folder of an adapter stands for its model with the
   * adapter: configuration and weights are the model's.
   *
   * @throws RlhfException when the folder, its configuration or a weight file is missing or corrupt
   */
  public static ModelFolder open(Path folder) {
    if (!Files.exists(folder)) {
      throw RlhfException.input(folder + ": there is no such model folder");
    }
    if (!Files.isDirectory(folder)) {
      throw RlhfException.input(folder + ": a model folder is expected, found a file");
    }
    if (AdapterFolder.existsIn(folder)) {
      AdapterFolder adapter = AdapterFolder.open(folder);
      return new ModelFolder(folder, adapter, open(adapter.base()));
    }
    Path configFile = folder.resolve(CONFIG_FILE);
    if (!Files.exists(configFile)) {
      throw RlhfException.input(folder + ": no model folder, " + CONFIG_FILE + " is missing");
    }
    ObjectNode config = StrictJson.read(configFile);
    for (Format format : FORMATS) {
      Path single = folder.resolve(format.single());
      if (Files.exists(single)) {
        WeightFile file = format.open().apply(single);
        Map<String, WeightFile> files = new LinkedHashMap<>();
        file.tensors().forEach(tensor -> files.put(tensor.name(), file));
        return new ModelFolder(folder, config, files);
      }
      if (Files.exists(folder.resolve(format.index()))) {
        return new ModelFolder(folder, config, openShards(folder, format));
      }
    }
    throw RlhfException.input(
        folder
            + ": no weights, expected one of "
            + FORMATS.stream()
                .flatMap(format -> Stream.of(format.single(), format.index()))
                .collect(Collectors.joining(", ")));
  }

  /** Where the folder lies. */
  public Path path() {
    return path;
  }

  /** The adapter, if the folder holds one. */
  public Optional<AdapterFolder> adapter() {
    return Optional.ofNullable(adapter);
  }

  /** Where configuration and weights lie: the folder, or that of the adapter's model. */
  public Path basePath() {
    return adapter == null ? path : adapter.base();
  }

  /** The folder that holds a file beside the weights: this one, else that of the model. */
  private Path folderOf(String name) {
    return Files.exists(path.resolve(name)) ? path : basePath();
  }

  /** The folder of the tokenizer, if there is one: this one, else that of the adapter's model. */
  public Path tokenizerPath() {
    return Files.exists(path.resolve("tokenizer.model")) ? path : folderOf("tokenizer.json");
  }

  /** The configuration's file, for messages. */
  public Path configFile() {
    return basePath().resolve(CONFIG_FILE);
  }

  /** A copy of the configuration. */
  public ObjectNode config() {
    return config.deepCopy();
  }

  /** The content of {@code generation_config.json}, if there is one. */
  public Optional<ObjectNode> generationConfig() {
    Path file = folderOf(GENERATION_CONFIG_FILE).resolve(GENERATION_CONFIG_FILE);
    return Files.exists(file) ? Optional.of(StrictJson.read(file)) : Optional.empty();
  }

  /**
   * Copies the files that belong to the model beside configuration and weights: the tokenizer's,
   * the chat template and {@code generation_config.json}. They are those that were there when the
   * folder was opened: a run may since have deleted the checkpoint that it continued from.
   */
  public void carryTo(Path target) {
    carried.forEach((name, content) -> AtomicFiles.write(target.resolve(name), content));
  }

  /** Names of all tensors of all weight files. */
  public Collection<String> tensorNames() {
    return Collections.unmodifiableSet(files.keySet());
  }

  /** Whether a weight file has a tensor of that name. */
  public boolean contains(String name) {
    return files.containsKey(name);
  }

  /** What the weight file says about a tensor; an error where there is none. */
  public TensorInfo info(String name) {
    return fileOf(name).info(name);
  }

  /** The weight file that holds a tensor; an error where there is none. */
  public WeightFile fileOf(String name) {
    WeightFile file = files.get(name);
    if (file == null) {
      throw RlhfException.input(basePath() + ": tensor " + name + " is missing");
    }
    return file;
  }

  /** As {@link WeightFile#readFloats(String, long, FloatBuffer)}. */
  public void readFloats(String name, long from, FloatBuffer target) {
    fileOf(name).readFloats(name, from, target);
  }

  /** As {@link WeightFile#readFloats(String)}. */
  public float[] readFloats(String name) {
    return fileOf(name).readFloats(name);
  }

  /** The type that most of the weights are stored in: what {@code save_dtype: source} means. */
  public StoredType storedType() {
    Map<StoredType, Long> elements = new EnumMap<>(StoredType.class);
    for (String name : files.keySet()) {
      TensorInfo info = info(name);
      if (info.type().isFloat()) {
        elements.merge(info.type(), info.elements(), Long::sum);
      }
    }
    return elements.entrySet().stream()
        .max(Map.Entry.comparingByValue())
        .map(Map.Entry::getKey)
        .orElseThrow(() -> RlhfException.input(path + ": no tensor is stored as F32, F16 or BF16"));
  }

  private static Map<String, WeightFile> openShards(Path folder, Format format) {
    Path indexFile = folder.resolve(format.index());
    JsonNode map = StrictJson.read(indexFile).path("weight_map");
    if (!map.isObject() || map.isEmpty()) {
      throw RlhfException.input(
          indexFile + ": weight_map must be an object that gives the file of each tensor");
    }
    Map<String, WeightFile> shards = openListed(folder, format, map);
    Map<String, WeightFile> files = new LinkedHashMap<>();
    for (WeightFile shard : shards.values()) {
      for (TensorInfo tensor : shard.tensors()) {
        WeightFile other = files.put(tensor.name(), shard);
        if (other != null) {
          throw RlhfException.input(
              shard.path() + ": tensor " + tensor.name() + " is in " + other.path() + " too");
        }
        if (!map.has(tensor.name())) {
          throw RlhfException.input(
              indexFile + ": tensor " + tensor.name() + " of " + shard.path() + " is not listed");
        }
      }
    }
    for (Map.Entry<String, JsonNode> entry : map.properties()) {
      WeightFile shard = shards.get(entry.getValue().textValue());
      if (!shard.contains(entry.getKey())) {
        throw RlhfException.input(
            shard.path()
                + ": tensor "
                + entry.getKey()
                + " is missing, "
                + indexFile
                + " lists it");
      }
    }
    return files;
  }

  private static Map<String, WeightFile> openListed(Path folder, Format format, JsonNode map) {
    Path indexFile = folder.resolve(format.index());
    TreeSet<String> names = new TreeSet<>();
    for (Map.Entry<String, JsonNode> entry : map.properties()) {
      String name = entry.getValue().textValue();
      // A plain name: an index must not reach files outside its folder.
      if (name == null || !name.matches("[\\w.-]+") || !name.endsWith(format.ending())) {
        throw RlhfException.input(
            indexFile
                + ": weight_map."
                + entry.getKey()
                + " must be the name of a "
                + format.ending()
                + " file in the folder, found "
                + entry.getValue());
      }
      names.add(name);
    }
    List<String> missing = new ArrayList<>(names);
    missing.removeIf(name -> Files.exists(folder.resolve(name)));
    if (!missing.isEmpty()) {
      throw RlhfException.input(
          indexFile + ": missing weight files " + String.join(", ", missing) + " in " + folder);
    }
    Map<String, WeightFile> shards = new LinkedHashMap<>();
    names.forEach(name -> shards.put(name, format.open().apply(folder.resolve(name))));
    return shards;
  }
}
