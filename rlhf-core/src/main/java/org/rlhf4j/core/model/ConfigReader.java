package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/**
 * Reads the keys of one object of a {@code config.json} and remembers which, so that a key which
 * nobody asked for is an error and not silently without effect. A key that is null counts as
 * absent, as in Hugging Face.
 */
final class ConfigReader {
  private static final int MOST_REPEATS = 10_000;

  private final JsonNode object;
  private final Path file;
  private final String prefix;
  private final Set<String> read = new HashSet<>();

  /**
   * @param object the object to read
   * @param file where it comes from, for messages
   * @param prefix of the keys in messages: empty at the top, else ending with a dot
   */
  ConfigReader(JsonNode object, Path file, String prefix) {
    this.object = object;
    this.file = file;
    this.prefix = prefix;
  }

  boolean has(String key) {
    read.add(key);
    return object.hasNonNull(key);
  }

  int requireInt(String key) {
    if (!has(key)) {
      throw RlhfException.input(file + ": " + prefix + key + " is missing");
    }
    return intOr(key, 0);
  }

  /** The number of blocks, checked here because families make lists of that length. */
  int requireLayers(String key) {
    int layers = requireInt(key);
    DecoderSpec.requireLayers(key, layers);
    return layers;
  }

  int intOr(String key, int fallback) {
    if (!has(key)) {
      return fallback;
    }
    JsonNode node = object.get(key);
    if (!node.isIntegralNumber() || !node.canConvertToInt()) {
      throw wrong(key, "an integer");
    }
    return node.intValue();
  }

  double requireNumber(String key) {
    if (!has(key)) {
      throw RlhfException.input(file + ": " + prefix + key + " is missing");
    }
    return numberOr(key, 0);
  }

  double numberOr(String key, double fallback) {
    if (!has(key)) {
      return fallback;
    }
    if (!object.get(key).isNumber()) {
      throw wrong(key, "a number");
    }
    return object.get(key).doubleValue();
  }

  boolean flagOr(String key, boolean fallback) {
    if (!has(key)) {
      return fallback;
    }
    if (!object.get(key).isBoolean()) {
      throw wrong(key, "true or false");
    }
    return object.get(key).booleanValue();
  }

  String textOr(String key, String fallback) {
    if (!has(key)) {
      return fallback;
    }
    if (!object.get(key).isTextual()) {
      throw wrong(key, "a string");
    }
    return object.get(key).textValue();
  }

  /** Whether a key is there with the value null, where that means something else than absence. */
  boolean isNull(String key) {
    read.add(key);
    return object.path(key).isNull();
  }

  /** The epsilon of a norm. */
  double epsilonOr(String key, double fallback) {
    double epsilon = numberOr(key, fallback);
    if (!(epsilon >= 0) || Double.isInfinite(epsilon)) {
      throw new IllegalArgumentException(key + " must be 0 or more, got " + epsilon);
    }
    return epsilon;
  }

  /** Strings of a list; empty for an absent one. */
  List<String> texts(String key) {
    List<String> texts = new ArrayList<>();
    if (has(key)) {
      if (!object.get(key).isArray()) {
        throw wrong(key, "a list of strings");
      }
      for (JsonNode node : object.get(key)) {
        if (!node.isTextual()) {
          throw wrong(key, "a list of strings");
        }
        texts.add(node.textValue());
      }
    }
    return texts;
  }

  /** Strings of a list such as {@code [[["global", "local"], 12]]}: each list so often. */
  List<String> repeatedTexts(String key) {
    List<String> texts = new ArrayList<>();
    if (!has(key)) {
      return texts;
    }
    for (JsonNode pair : object.get(key)) {
      int times = pair.path(1).asInt(-1);
      if (!pair.path(0).isArray() || times < 0 || times > MOST_REPEATS) {
        throw wrong(key, "a list of pairs, each of a list of strings and a number");
      }
      for (int i = 0; i < times; i++) {
        pair.get(0).forEach(text -> texts.add(text.asText()));
      }
    }
    return texts;
  }

  /** The function of an MLP, by any of Hugging Face's names for it. */
  MlpSpec.Activation activation(String key, String fallback) {
    return switch (textOr(key, fallback)) {
      case "silu", "swish" -> MlpSpec.Activation.SILU;
      case "gelu_new", "gelu_pytorch_tanh", "gelu_fast" -> MlpSpec.Activation.GELU_TANH;
      case "gelu", "gelu_python" -> MlpSpec.Activation.GELU;
      case "relu" -> MlpSpec.Activation.RELU;
      default -> throw unsupported(key, "silu, gelu_new, gelu_pytorch_tanh, gelu_fast, gelu, relu");
    };
  }

  /** The keys of the object under {@code key}; an absent one has none. */
  ConfigReader child(String key) {
    if (has(key) && !object.get(key).isObject()) {
      throw wrong(key, "an object");
    }
    return new ConfigReader(object.path(key), file, prefix + key + ".");
  }

  /** A number that may only have one value. */
  void requireOnly(String key, double supported) {
    if (numberOr(key, supported) != supported) {
      throw unsupported(key, String.valueOf(supported));
    }
  }

  /** A flag that may only be set. */
  void requireTrue(String key) {
    if (!flagOr(key, true)) {
      throw unsupported(key, "true");
    }
  }

  /** A key that must be absent, null, false or empty. */
  void requireUnset(String key) {
    if (!has(key)) {
      return;
    }
    JsonNode node = object.get(key);
    boolean unset =
        node.isContainerNode() ? node.isEmpty() : node.isBoolean() && !node.booleanValue();
    if (!unset) {
      throw unsupported(key, "leaving it out");
    }
  }

  /** Refuses every key that is neither read so far nor in the list. */
  void refuseOthers(Set<String> harmless) {
    for (Map.Entry<String, JsonNode> entry : object.properties()) {
      String key = entry.getKey();
      if (!read.contains(key) && !harmless.contains(key) && !entry.getValue().isNull()) {
        throw RlhfException.input(
            file
                + ": "
                + prefix
                + key
                + " = "
                + entry.getValue()
                + " is not known; if it does not change what the model computes, remove it");
      }
    }
  }

  /** Refuses every key that is neither read so far nor in the list, unless it is unset. */
  void refuseSetOthers(Set<String> harmless) {
    for (Map.Entry<String, JsonNode> entry : object.properties()) {
      if (!read.contains(entry.getKey()) && !harmless.contains(entry.getKey())) {
        requireUnset(entry.getKey());
      }
    }
  }

  RlhfException unsupported(String key, String supported) {
    return RlhfException.input(
        file
            + ": "
            + prefix
            + key
            + " = "
            + object.get(key)
            + " is not supported, supported: "
            + supported);
  }

  private RlhfException wrong(String key, String expected) {
    return RlhfException.input(
        file + ": " + prefix + key + " must be " + expected + ", found " + object.get(key));
  }
}
