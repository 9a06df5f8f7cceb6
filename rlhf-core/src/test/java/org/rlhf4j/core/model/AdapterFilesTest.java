package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.SaveFormat;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;

/** The folder of an adapter: where its model is found, and what is refused. */
class AdapterFilesTest {
  private static final JsonMapper JSON = new JsonMapper();
  private static final String A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";

  @TempDir Path temporary;
  private Path base;
  private Path folder;

  @BeforeEach
  void adapter() throws IOException {
    base = TinyModel.causalLm(temporary.resolve("base"), 1);
    folder = Files.createDirectory(temporary.resolve("adapter"));
    LoraSpec lora = new LoraSpec(2, 4, 0, List.of("q_proj"), false, List.of());
    ModelFolder start = ModelFolder.open(base);
    try (Torch torch = Torch.open("cpu");
        CausalLm model =
            ModelLoader.causalLm(
                torch, start, new ModelLoader.Options(ElementType.FP32, true, lora, 1))) {
      SaveFormat format = new SaveFormat(StoredType.F32, Long.MAX_VALUE);
      ModelWriter.causalLm(folder, start, model, format);
    }
  }

  @AfterEach
  void modelIsUntouched() {
    assertDoesNotThrow(() -> ModelFamilies.of(ModelFolder.open(base)));
  }

  private void config(Consumer<ObjectNode> change) throws IOException {
    Path file = folder.resolve("adapter_config.json");
    ObjectNode config = (ObjectNode) JSON.readTree(file.toFile());
    change.accept(config);
    Files.write(file, JSON.writeValueAsBytes(config));
  }

  private void tensors(String name, long... shape) {
    Path file = folder.resolve("adapter_model.safetensors");
    SafetensorsFile stored = SafetensorsFile.open(file);
    List<TensorSource> sources = new ArrayList<>();
    for (var info : stored.tensors()) {
      if (!info.name().equals(name)) {
        float[] values = stored.readFloats(info.name());
        sources.add(TensorSource.floats(info.name(), StoredType.F32, info.shape(), values));
      }
    }
    if (shape.length > 0) {
      int size = (int) (shape[0] * shape[1]);
      sources.add(TensorSource.floats(name, StoredType.F32, shape, new float[size]));
    }
    SafetensorsWriter.write(file, sources, SafetensorsWriter.PYTORCH_METADATA);
  }

  private void refused(String... parts) {
    RlhfException error =
        assertThrows(RlhfException.class, () -> ModelFamilies.of(ModelFolder.open(folder)));
    for (String part : parts) {
      assertTrue(error.getMessage().contains(part), error.getMessage());
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "use_dora | true",
        "bias | \"all\"",
        "lora_bias | true",
        "peft_type | \"IA3\"",
        "rank_pattern | {\"q_proj\": 8}",
        "alpha_pattern | {\"q_proj\": 8}",
        "layers_to_transform | [0]",
        "target_parameters | [\"q\"]",
        "trainable_token_indices | [1]",
        "fan_in_fan_out | true",
        "init_lora_weights | \"pissa\"",
        "target_modules | \".*_proj\"",
        "task_type | \"TOKEN_CLS\"",
        "r | 0",
        "lora_dropout | 1.5",
        "something_new | 3"
      })
  void keysThatWouldChangeNumbersAreRefused(String key, String value) throws IOException {
    config(
        config -> {
          try {
            config.set(key, JSON.readTree(value));
          } catch (IOException e) {
            throw new IllegalStateException(e);
          }
        });
    refused(
        folder.resolve("adapter_config.json") + ": " + key + " = " + JSON.readTree(value),
        "not supported");
  }

  /** In the same order in every process. */
  @Test
  void waysOfDrawingAreListed() throws IOException {
    config(config -> config.put("init_lora_weights", "pissa"));
    refused("init_lora_weights = \"pissa\"", "true, false, gaussian, orthogonal, eva");
  }

  @Test
  void keysWithoutEffectAreTaken() throws IOException {
    config(
        config -> {
          config.put("peft_version", "0.21.2").put("qalora_group_size", 16);
          config.put("megatron_core", "megatron.core").put("something_new", false);
          config.putNull("alora_invocation_tokens").put("task_type", "CAUSAL_LM");
          config.putArray("modules_to_save").add("classifier").add("classifier");
        });
    assertEquals(ModelHead.CAUSAL_LM, ModelFamilies.of(ModelFolder.open(folder)).head());
  }

  @Test
  void theModelLiesWhereTheConfigurationSays() throws IOException {
    config(config -> config.put("base_model_name_or_path", "../base"));
    ModelFolder opened = ModelFolder.open(folder);
    assertEquals(base.toRealPath(), opened.basePath().toRealPath());
    assertEquals(folder, opened.tokenizerPath(), "carried with the adapter");
    Files.delete(folder.resolve("tokenizer.json"));
    assertEquals(base.toRealPath(), opened.tokenizerPath().toRealPath());

    config(config -> config.put("base_model_name_or_path", "no/such"));
    refused("base_model_name_or_path no/such is no folder, neither here nor beside the adapter");
    config(config -> config.put("base_model_name_or_path", folder.toString()));
    refused("is an adapter itself; merge it into its model first");
    config(config -> config.remove("base_model_name_or_path"));
    refused("base_model_name_or_path must be the folder");
  }

  @Test
  void tensorsAreHeldAgainstTheConfiguration() throws IOException {
    tensors(A);
    refused("tensor " + A + " is missing");
    tensors(A, 3, 16);
    refused("tensor " + A + " is F32 [3, 16], expected [2, 16]");
    tensors(A, 2, 16);
    tensors("base_model.model.lm_head.lora_A.weight", 2, 16);
    refused("tensor base_model.model.lm_head.lora_A.weight is not part of this adapter");
    Files.delete(folder.resolve("adapter_model.safetensors"));
    refused("an adapter without adapter_model.safetensors or adapter_model.bin");
  }

  @Test
  void aRewardModelWithoutItsHeadIsRefused() throws IOException {
    config(config -> config.put("task_type", "SEQ_CLS"));
    refused("a reward model without base_model.model.score.weight", "modules_to_save lacks it");
  }

  @Test
  void aLanguageModelsAdapterDoesNotFitARewardModel() throws IOException {
    Path reward = TinyModel.rewardModel(temporary.resolve("reward"), 1);
    config(config -> config.put("base_model_name_or_path", reward.toString()));
    refused("task_type is CAUSAL_LM, but the model in " + reward + " is a reward model");
  }
}
