package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvFileSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.testing.TinyFamilies;

/**
 * Every key of every family, one a row of {@code config-keys.csv}: those of the configuration
 * classes of transformers 5.23.0 with their defaults, and those of older files. Another value of a
 * key changes what the model computes, is refused, or does nothing.
 */
class ConfigKeysTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Path FILE = Path.of("config.json");

  @ParameterizedTest
  @CsvFileSource(resources = "/config-keys.csv", delimiter = '|', quoteCharacter = '\0')
  void aKeyIsReadRefusedOrHarmless(
      String family, String key, String standard, String other, String effect, String with)
      throws IOException {
    List<String> families = family.equals("*") ? ModelFamilies.modelTypes() : List.of(family);
    for (String modelType : families) {
      ObjectNode config = TinyFamilies.config(modelType);
      config.setAll((ObjectNode) JSON.readTree(with));
      checkDefault(config.deepCopy(), key, standard);
      check(config, key, JSON.readTree(other), effect);
    }
  }

  private static void checkDefault(ObjectNode config, String key, String standard)
      throws IOException {
    if (standard == null) {
      return; // it depends on other keys, or nothing depends on it
    }
    config.remove(key);
    if (standard.equals("required")) {
      assertTrue(refusal(config).contains(key + " is missing"), refusal(config));
      return;
    }
    DecoderSpec absent = spec(config);
    assertEquals(spec(config.set(key, JSON.readTree(standard))), absent);
  }

  private static void check(ObjectNode config, String key, JsonNode other, String effect) {
    ObjectNode changed = config.deepCopy();
    changed.set(key, other);
    switch (effect) {
      case "changes" -> assertNotEquals(spec(config), spec(changed));
      case "none" -> assertEquals(spec(config), spec(changed));
      case "refused" -> {
        String message = refusal(changed);
        assertTrue(message.contains(key), message);
      }
      default -> throw new IllegalArgumentException(effect);
    }
  }

  private static DecoderSpec spec(JsonNode config) {
    return ModelFamilies.of(config, FILE).spec();
  }

  private static String refusal(JsonNode config) {
    RlhfException e = assertThrows(RlhfException.class, () -> spec(config));
    assertEquals(ExitCode.INPUT, e.exitCode());
    return e.getMessage();
  }
}
