package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.TensorInfo;

/** Finds out which family a configuration belongs to, which head it has and what it describes. */
public final class ModelFamilies {
  private static final List<ModelFamily> KNOWN =
      List.of(
          new LlamaFamily(),
          new MistralFamily(),
          new Qwen2Family(),
          new Qwen3Family(),
          new Gemma2Family(),
          new Phi3Family(),
          new Gpt2Family(),
          new GptNeoFamily(),
          new GptJFamily(),
          new GptNeoXFamily(),
          new BloomFamily(),
          new OptFamily());

  /** A loop over an array takes a fraction of the time of one over a buffer. */
  private static final int CHECKED_AT_ONCE = 1 << 12;

  private ModelFamilies() {}

  /**
   * What a configuration describes.
   *
   * @param family the family that read it
   * @param head what stands on top
   * @param spec the decoder
   */
  public record Model(ModelFamily family, ModelHead head, DecoderSpec spec) {

    /** Trunk and head parameters, trunk first, in the decoder's order. */
    public List<ParameterSpec> parameters() {
      List<ParameterSpec> all = new ArrayList<>(family.parameters(spec));
      all.addAll(family.headParameters(spec, head));
      return List.copyOf(all);
    }

    /** The name that a folder stores a parameter under: its own, or that without the prefix. */
    public String storedName(ModelFolder folder, String name) {
      String prefix = family.prefix();
      return folder.contains(name) || !name.startsWith(prefix)
          ? name
          : name.substring(prefix.length());
    }

    /**
     * Reads values of a parameter from element {@code from} of its flat form on; fills {@code
     * target}.
     *
     * @throws RlhfException where one is not finite: no computation could use it
     */
    public void read(ModelFolder folder, String name, long from, FloatBuffer target) {
      String stored = storedName(folder, name);
      int begin = target.position();
      folder.readFloats(stored, from, target);
      int count = target.position() - begin;
      float[] part = new float[Math.min(CHECKED_AT_ONCE, count)];
      for (int done = 0; done < count; done += part.length) {
        int length = Math.min(part.length, count - done);
        target.get(begin + done, part, 0, length);
        for (int i = 0; i < length; i++) {
          if (!Float.isFinite(part[i])) {
            throw RlhfException.input(
                "%s: tensor %s holds %s at element %d, expected finite numbers"
                    .formatted(folder.fileOf(stored).path(), stored, part[i], from + done + i));
          }
        }
      }
    }
  }

  /**
   * Reads a model folder's configuration and holds its tensors against it: every parameter must be
   * there with its shape and as floats, and nothing else but what {@link ModelFamily#isDerived}
   * names and a head that equals the embedding it is tied to. Where the folder holds an adapter,
   * the same goes for the adapter's tensors, and the head is the adapter's.
   *
   * @throws RlhfException naming the key or tensor, what was found and what is expected
   */
  public static Model of(ModelFolder folder) {
    JsonNode config = folder.config();
    Path file = folder.configFile();
    ModelFamily family = family(config, file);
    ModelHead head =
        config.path("architectures").isMissingNode()
            ? headOfTensors(family, folder)
            : head(config, file, family);
    requireOneLabel(config, file, head);
    Model model = new Model(family, head, family.read(config, file));
    requireTensors(folder, model);
    if (folder.adapter().isEmpty()) {
      return model;
    }
    ModelHead adapted = AdapterConfig.head(folder.adapter().get(), model);
    Model withAdapter = new Model(family, adapted, model.spec());
    new StoredAdapter(folder.adapter().get(), withAdapter);
    return withAdapter;
  }

  /**
   * Reads a configuration that comes without weights; {@code architectures} must be there.
   *
   * @param file where it comes from, for messages
   */
  public static Model of(JsonNode config, Path file) {
    ModelFamily family = family(config, file);
    ModelHead head = head(config, file, family);
    requireOneLabel(config, file, head);
    return new Model(family, head, family.read(config, file));
  }

  /**
   * The shares of dropout that a configuration asks for, such as {@code attn_pdrop 0.1}; no trainer
   * here drops anything out.
   */
  public static List<String> dropouts(JsonNode config) {
    return CommonKeys.dropouts(config);
  }

  /** The {@code model_type} of every family. */
  public static List<String> modelTypes() {
    return KNOWN.stream().map(ModelFamily::modelType).toList();
  }

  /** Whether a {@code model_type} is one of ours. */
  public static boolean supports(String modelType) {
    return modelTypes().contains(modelType);
  }

  private static ModelFamily family(JsonNode config, Path file) {
    JsonNode type = config.path("model_type");
    return KNOWN.stream()
        .filter(family -> family.modelType().equals(type.textValue()))
        .findFirst()
        .orElseThrow(
            () ->
                RlhfException.input(
                    file
                        + ": model_type "
                        + (type.isMissingNode() ? "is missing" : type + " is not supported")
                        + ", supported: "
                        + KNOWN.stream()
                            .map(ModelFamily::modelType)
                            .collect(Collectors.joining(", "))));
  }

  private static ModelHead head(JsonNode config, Path file, ModelFamily family) {
    JsonNode architectures = config.path("architectures");
    if (architectures.isArray() && architectures.size() == 1) {
      for (ModelHead head : ModelHead.values()) {
        if (family.architecture(head).equals(architectures.get(0).textValue())) {
          return head;
        }
      }
    }
    throw RlhfException.input(
        file
            + ": architectures "
            + (architectures.isMissingNode() ? "is missing" : architectures + " is not supported")
            + ", supported: one of "
            + architectureNames(family));
  }

  private static String architectureNames(ModelFamily family) {
    return Arrays.stream(ModelHead.values())
        .map(family::architecture)
        .collect(Collectors.joining(", "));
  }

  /** For configurations that do not say it: a score head shows in the tensors. */
  private static ModelHead headOfTensors(ModelFamily family, ModelFolder folder) {
    return folder.contains(family.headName(ModelHead.SEQUENCE_CLASSIFICATION))
        ? ModelHead.SEQUENCE_CLASSIFICATION
        : ModelHead.CAUSAL_LM;
  }

  /** Hugging Face's rule: id2label counts if it is there, then num_labels, and 2 is the default. */
  private static void requireOneLabel(JsonNode config, Path file, ModelHead head) {
    if (head != ModelHead.SEQUENCE_CLASSIFICATION) {
      return;
    }
    JsonNode labels = config.path("id2label");
    JsonNode count = config.path("num_labels");
    boolean counted = !count.isMissingNode() && !count.isNull();
    if (labels.isObject()) {
      requireOne(file, "id2label has " + labels.size() + " labels", labels.size() == 1);
    }
    if (counted) {
      requireOne(file, "num_labels is " + count, count.isInt() && count.intValue() == 1);
    }
    requireOne(
        file,
        "neither id2label nor num_labels is set, which means 2",
        labels.isObject() || counted);
  }

  private static void requireOne(Path file, String found, boolean one) {
    if (!one) {
      throw RlhfException.input(file + ": " + found + "; a reward model has 1 label");
    }
  }

  private static void requireTensors(ModelFolder folder, Model model) {
    Set<String> unexpected = new TreeSet<>(folder.tensorNames());
    List<String> missing = new ArrayList<>();
    for (ParameterSpec parameter : model.parameters()) {
      String stored = model.storedName(folder, parameter.name());
      if (!unexpected.remove(stored)) {
        missing.add(parameter.name());
      } else {
        requireShape(folder, parameter, stored);
      }
    }
    if (!missing.isEmpty()) {
      throw RlhfException.input(folder.basePath() + ": " + named(missing, "missing"));
    }
    unexpected.removeIf(model.family()::isDerived);
    String headName = model.family().headName(ModelHead.CAUSAL_LM);
    if (model.spec().head().tied() && unexpected.remove(headName)) {
      requireEqual(folder, headName, model.storedName(folder, model.family().embeddingName()));
    }
    if (!unexpected.isEmpty()) {
      throw RlhfException.input(
          folder.basePath() + ": " + named(List.copyOf(unexpected), "not part of this model"));
    }
  }

  private static String named(List<String> names, String what) {
    return "tensor "
        + names.get(0)
        + " is "
        + what
        + (names.size() == 1 ? "" : ", and " + (names.size() - 1) + " more are");
  }

  private static void requireShape(ModelFolder folder, ParameterSpec parameter, String stored) {
    TensorInfo info = folder.info(stored);
    Path file = folder.fileOf(stored).path();
    if (!info.dimensions().equals(parameter.dimensions())) {
      throw RlhfException.input(
          file
              + ": tensor "
              + stored
              + " has shape "
              + info.dimensions()
              + ", expected "
              + parameter.dimensions()
              + " by "
              + folder.configFile());
    }
    if (!info.type().isFloat()) {
      throw RlhfException.input(
          file + ": tensor " + stored + " has type " + info.type() + ", expected F32, F16 or BF16");
    }
  }

  private static void requireEqual(ModelFolder folder, String copy, String original) {
    TensorInfo info = folder.info(copy);
    boolean equal = info.hasShape(folder.info(original).shape()) && info.type().isFloat();
    int chunk = 1 << 18;
    for (long from = 0; equal && from < info.elements(); from += chunk) {
      int count = (int) Math.min(chunk, info.elements() - from);
      float[] left = new float[count];
      float[] right = new float[count];
      folder.readFloats(copy, from, FloatBuffer.wrap(left));
      folder.readFloats(original, from, FloatBuffer.wrap(right));
      equal = Arrays.equals(left, right);
    }
    if (!equal) {
      throw RlhfException.input(
          folder.fileOf(copy).path()
              + ": tensor "
              + copy
              + " differs from "
              + original
              + ", but tie_word_embeddings says that they are one");
    }
  }
}
