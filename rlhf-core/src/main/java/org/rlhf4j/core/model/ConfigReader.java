package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/**
 * Reads the keys of one object of a {@code config.json} and remembers which, so that a key which
 * nobody asked for is an error and not silently without effect. A key that is null counts as
 * absent, as in Hugging Face.
 */
final class ConfigReader {
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
