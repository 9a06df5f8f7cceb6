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
import org.rlhf4j.core.RlhfException;

/**
 * A Hugging Face model folder, opened for reading: {@code config.json} and the weights, in one
 * {@code model.safetensors} or in shards that {@code model.safetensors.index.json} lists. Where
 * both are there the single file counts, as in Hugging Face's loader. Needs no closing.
 *
 * <p>Whatever is missing or wrong is an {@link RlhfException} that names the file and the tensor.
 */
public final class ModelFolder {
  static final String CONFIG_FILE = "config.json";
  static final String GENERATION_CONFIG_FILE = "generation_config.json";
  static final String SINGLE_FILE = "model.safetensors";
  static final String INDEX_FILE = "model.safetensors.index.json";

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
  private final Map<String, SafetensorsFile> files;
  private final Map<String, byte[]> carried;

  private ModelFolder(Path path, ObjectNode config, Map<String, SafetensorsFile> files) {
    this.path = path;
    this.config = config;
    this.files = files;
    this.carried = readCarried(path);
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
   * Opens a folder and checks its files.
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
    Path configFile = folder.resolve(CONFIG_FILE);
    if (!Files.exists(configFile)) {
      throw RlhfException.input(folder + ": no model folder, " + CONFIG_FILE + " is missing");
    }
    ObjectNode config = StrictJson.read(configFile);
    Path single = folder.resolve(SINGLE_FILE);
    Path index = folder.resolve(INDEX_FILE);
    if (Files.exists(single)) {
      SafetensorsFile file = SafetensorsFile.open(single);
      Map<String, SafetensorsFile> files = new LinkedHashMap<>();
      file.tensors().forEach(tensor -> files.put(tensor.name(), file));
      return new ModelFolder(folder, config, files);
    }
    if (Files.exists(index)) {
      return new ModelFolder(folder, config, openShards(folder, index));
    }
    boolean pickled =
        Files.exists(folder.resolve("pytorch_model.bin"))
            || Files.exists(folder.resolve("pytorch_model.bin.index.json"));
    throw RlhfException.input(
        folder
            + ": no weights, expected "
            + SINGLE_FILE
            + " or "
            + INDEX_FILE
            + (pickled ? "; pytorch_model.bin is not supported" : ""));
  }

  /** Where the folder lies. */
  public Path path() {
    return path;
  }

  /** The configuration's file, for messages. */
  public Path configFile() {
    return path.resolve(CONFIG_FILE);
  }

  /** A copy of the configuration. */
  public ObjectNode config() {
    return config.deepCopy();
  }

  /** The content of {@code generation_config.json}, if there is one. */
  public Optional<ObjectNode> generationConfig() {
    Path file = path.resolve(GENERATION_CONFIG_FILE);
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
  public SafetensorsFile fileOf(String name) {
    SafetensorsFile file = files.get(name);
    if (file == null) {
      throw RlhfException.input(path + ": tensor " + name + " is missing");
    }
    return file;
  }

  /** As {@link SafetensorsFile#readFloats(String, long, FloatBuffer)}. */
  public void readFloats(String name, long from, FloatBuffer target) {
    fileOf(name).readFloats(name, from, target);
  }

  /** As {@link SafetensorsFile#readFloats(String)}. */
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

  private static Map<String, SafetensorsFile> openShards(Path folder, Path indexFile) {
    JsonNode map = StrictJson.read(indexFile).path("weight_map");
    if (!map.isObject() || map.isEmpty()) {
      throw RlhfException.input(
          indexFile + ": weight_map must be an object that gives the file of each tensor");
    }
    Map<String, SafetensorsFile> shards = openListed(folder, indexFile, map);
    Map<String, SafetensorsFile> files = new LinkedHashMap<>();
    for (SafetensorsFile shard : shards.values()) {
      for (TensorInfo tensor : shard.tensors()) {
        SafetensorsFile other = files.put(tensor.name(), shard);
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
      SafetensorsFile shard = shards.get(entry.getValue().textValue());
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

  private static Map<String, SafetensorsFile> openListed(
      Path folder, Path indexFile, JsonNode map) {
    TreeSet<String> names = new TreeSet<>();
    for (Map.Entry<String, JsonNode> entry : map.properties()) {
      String name = entry.getValue().textValue();
      // A plain name: an index must not reach files outside its folder.
      if (name == null || !name.matches("[\\w.-]+\\.safetensors")) {
        throw RlhfException.input(
            indexFile
                + ": weight_map."
                + entry.getKey()
                + " must be the name of a .safetensors file in the folder, found "
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
    Map<String, SafetensorsFile> shards = new LinkedHashMap<>();
    names.forEach(name -> shards.put(name, SafetensorsFile.open(folder.resolve(name))));
    return shards;
  }
}
