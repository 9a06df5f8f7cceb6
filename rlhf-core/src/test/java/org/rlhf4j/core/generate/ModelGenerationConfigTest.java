package org.rlhf4j.core.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.testing.TestTokenizers;
import org.rlhf4j.core.testing.TinyModel;

class ModelGenerationConfigTest {
  @TempDir Path folder;

  @BeforeEach
  void makeModel() throws IOException {
    TinyModel.causalLm(folder, 1);
  }

  private ModelGenerationConfig of(String settings) throws IOException {
    Files.writeString(folder.resolve("generation_config.json"), settings);
    return ModelGenerationConfig.of(ModelFolder.open(folder), TestTokenizers.BYTES_SIZE);
  }

  @Test
  void endIdsComeFromTheFirstFileThatNamesAny() throws IOException {
    int[] ofConfig = {TestTokenizers.EOS};
    assertArrayEquals(ofConfig, ModelGenerationConfig.of(ModelFolder.open(folder), 259).eosIds());
    assertArrayEquals(ofConfig, of("{\"temperature\": 0.5}").eosIds());
    assertArrayEquals(ofConfig, of("{\"eos_token_id\": null}").eosIds());
    assertArrayEquals(new int[] {4}, of("{\"eos_token_id\": 4}").eosIds());
    assertArrayEquals(new int[] {4, 0}, of("{\"eos_token_id\": [4, 0]}").eosIds());
    assertArrayEquals(new int[0], of("{\"eos_token_id\": []}").eosIds());
    Path config = folder.resolve("config.json");
    String text = Files.readString(config);
    Files.writeString(config, text.replace("\"eos_token_id\": 257", "\"eos_token_id\": [7,9]"));
    assertArrayEquals(new int[] {7, 9}, of("{}").eosIds());
    Files.writeString(config, text.replace("\"eos_token_id\": 257,", ""));
    assertArrayEquals(new int[0], of("{}").eosIds());
  }

  @ParameterizedTest
  @ValueSource(strings = {"259", "-1", "\"</s>\"", "[1, 1.5]", "true"})
  void endIdsAreIdsOfTheVocabulary(String value) {
    RlhfException e =
        assertThrows(RlhfException.class, () -> of("{\"eos_token_id\": " + value + "}"));
    assertEquals(ExitCode.INPUT, e.exitCode());
    assertTrue(
        e.getMessage().startsWith(folder.resolve("generation_config.json") + ": eos_token_id is "),
        e.getMessage());
  }

  @Test
  void keysAreTakenUnderOurNamesAndTheRestIsNamed() throws IOException {
    ModelGenerationConfig found =
        of(
            """
            {"do_sample": true, "temperature": 0.6, "top_k": null, "stop_strings": ["a", "b"],
             "num_beams": 2, "max_length": 4096, "transformers_version": "5.0", "use_cache": true}
            """);
    assertEquals(
        Map.of("do_sample", "true", "temperature", "0.6", "stop", List.of("a", "b")), found.keys());
    assertEquals(List.of("max_length", "num_beams"), found.notTaken());
  }
}
