package org.rlhf4j.core.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.testing.Shared;

class ConfigJsonTest {
  private static final String CAUSAL = "LlamaForCausalLM";
  private static final String REWARD = "LlamaForSequenceClassification";

  @TempDir Path folder;

  private static ObjectNode parse(String json) {
    try {
      return (ObjectNode) new ObjectMapper().readTree(json);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(e);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"x\":1,\"dtype\":\"float32\"} | {\"x\":1,\"dtype\":\"bfloat16\",\"architectures\":[\"LlamaForCausalLM\"]}",
        "{\"torch_dtype\":\"float32\",\"x\":1} | {\"torch_dtype\":\"bfloat16\",\"x\":1,\"architectures\":[\"LlamaForCausalLM\"]}",
        "{\"torch_dtype\":null,\"dtype\":null} | {\"torch_dtype\":\"bfloat16\",\"dtype\":\"bfloat16\",\"architectures\":[\"LlamaForCausalLM\"]}",
        "{\"rope_parameters\":{}} | {\"rope_parameters\":{},\"architectures\":[\"LlamaForCausalLM\"],\"dtype\":\"bfloat16\"}",
        "{\"num_labels\":1,\"id2label\":{}} | {\"architectures\":[\"LlamaForCausalLM\"],\"torch_dtype\":\"bfloat16\"}",
      })
  void aLanguageModelKeepsItsKeysAndItsStyle(String start, String expected) {
    assertEquals(parse(expected), ConfigJson.causalLm(parse(start), CAUSAL, StoredType.BF16));
  }

  /** Apart from the explicit num_labels this is what Hugging Face saved for the same shape. */
  @Test
  void aRewardModelIsDescribedAsHuggingFaceDoes() throws IOException {
    Path start = Shared.path("golden/models/llama-gqa/config.json");
    Path expected = Shared.path("golden/models/llama-reward/config.json");
    ObjectNode found = ConfigJson.reward(parse(Files.readString(start)), REWARD, StoredType.F32, 0);
    assertEquals(1, found.remove("num_labels").intValue());
    assertEquals(parse(Files.readString(expected)), found);
  }

  /** Line by line the layout of Python's json.dumps with an indent of 2. */
  @Test
  void looksLikeHuggingFacesFiles() throws IOException {
    Path golden = Shared.path("golden/models/llama-reward/config.json");
    String expected = Files.readString(golden).replace("1e-05", "1.0E-5");
    assertEquals(
        expected,
        new String(ConfigJson.toBytes(parse(Files.readString(golden))), StandardCharsets.UTF_8));
  }

  private ModelFolder start(String config, String generationConfig) throws IOException {
    Files.writeString(folder.resolve("config.json"), config);
    if (generationConfig != null) {
      Files.writeString(folder.resolve("generation_config.json"), generationConfig);
    }
    SafetensorsWriter.write(
        folder.resolve("model.safetensors"),
        List.of(TensorSource.floats("a", StoredType.F32, new long[] {1}, new float[1])),
        Map.of());
    return ModelFolder.open(folder);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"pad_token_id\":0,\"eos_token_id\":2} | | -1 | true | 0",
        "{\"pad_token_id\":0,\"eos_token_id\":2} | | 9 | false | 0",
        "{\"pad_token_id\":null,\"eos_token_id\":2} | | 9 | true | 9",
        "{\"pad_token_id\":-1,\"eos_token_id\":2} | | -1 | false | 2",
        "{\"pad_token_id\":2,\"eos_token_id\":2} | | -1 | false | 2",
        "{\"pad_token_id\":5,\"eos_token_id\":2} | {\"eos_token_id\":[2,5]} | 6 | true | 6",
        "{\"eos_token_id\":[2,5]} | | 5 | false | 2",
      })
  void thePadTokenIsOneThatNoTextEndsWith(
      String config, String generation, int tokenizerPad, boolean appendEos, int expected)
      throws IOException {
    OptionalInt pad = tokenizerPad < 0 ? OptionalInt.empty() : OptionalInt.of(tokenizerPad);
    assertEquals(expected, ConfigJson.rewardPadTokenId(start(config, generation), pad, appendEos));
  }

  @Test
  void withoutADistinctPadATextMustNotEndWithEos() throws IOException {
    ModelFolder eosOnly = start("{\"eos_token_id\":2}", null);
    RlhfException error =
        assertThrows(
            RlhfException.class,
            () -> ConfigJson.rewardPadTokenId(eosOnly, OptionalInt.of(2), true));
    assertEquals(ExitCode.CONFIG, error.exitCode());
    ModelFolder neither = start("{}", null);
    assertThrows(
        RlhfException.class,
        () -> ConfigJson.rewardPadTokenId(neither, OptionalInt.empty(), false));
    ModelFolder wrong = start("{\"eos_token_id\":\"2\"}", null);
    assertThrows(
        RlhfException.class, () -> ConfigJson.rewardPadTokenId(wrong, OptionalInt.empty(), false));
  }
}
