package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntToDoubleFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.testing.TinyModel;

class ModelDeltaTest {
  private static final String EMBEDDING = "model.embed_tokens.weight";
  private static final String NORM = "model.norm.weight";
  private static final int WIDTH = 4;

  @TempDir Path folder;

  /** A model of {@code words} words whose weights are functions of their place. */
  private ModelFolder model(
      String name, StoredType type, int words, boolean tied, IntToDoubleFunction value)
      throws IOException {
    Path path = Files.createDirectories(folder.resolve(name));
    Path config =
        Files.writeString(
            path.resolve("config.json"),
            """
            {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": %d,
             "hidden_size": %d, "intermediate_size": 6, "num_hidden_layers": 1,
             "num_attention_heads": 2, "rms_norm_eps": 1e-05, "rope_theta": 500.0,
             "tie_word_embeddings": %s, "torch_dtype": "x"}
            """
                .formatted(words, WIDTH, tied));
    Files.writeString(path.resolve("tokenizer_config.json"), "{\"name\": \"" + name + "\"}");
    List<TensorSource> tensors = new ArrayList<>();
    for (ParameterSpec parameter :
        ModelFamilies.of(ModelFamiliesTest.parse(Files.readString(config)), config).parameters()) {
      float[] values = new float[(int) parameter.elements()];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) value.applyAsDouble(i);
      }
      tensors.add(TensorSource.floats(parameter.name(), type, parameter.shape(), values));
    }
    SafetensorsWriter.writeModel(path, tensors);
    return ModelFolder.open(path);
  }

  private ModelDelta.Result make(ModelFolder base, ModelFolder tuned) {
    return ModelDelta.make(base, tuned, folder.resolve("delta"), Long.MAX_VALUE);
  }

  private ModelDelta.Result apply(ModelFolder base) {
    return ModelDelta.apply(base, opened("delta"), folder.resolve("restored"), Long.MAX_VALUE);
  }

  private ModelFolder opened(String name) {
    return ModelFolder.open(folder.resolve(name));
  }

  @Test
  void theDeltaIsTheDifferenceAndTheSumIsTheModel() throws IOException {
    ModelFolder base = model("base", StoredType.F32, 5, false, i -> i);
    ModelFolder tuned = model("tuned", StoredType.F32, 5, false, i -> i + 0.25 * (i % 3));
    ModelDelta.Result made = make(base, tuned);
    assertEquals(new ModelDelta.Result(StoredType.F32, 188, 0, 0, true), made);
    assertArrayEquals(new float[] {0, 0.25f, 0.5f, 0}, opened("delta").readFloats(NORM));
    // Without further words nothing is set to zero: the slice [-0:] would be the whole matrix.
    assertEquals(0.25f, opened("delta").readFloats(EMBEDDING)[19]);
    assertEquals(made, apply(base));
    assertArrayEquals(new float[] {0, 1.25f, 2.5f, 3}, opened("restored").readFloats(NORM));
    for (String name : List.of("delta", "restored")) {
      assertEquals(
          "{\"name\": \"tuned\"}",
          Files.readString(folder.resolve(name).resolve("tokenizer_config.json")));
      assertEquals("float32", opened(name).config().path("torch_dtype").asText());
    }
    assertFalse(Files.exists(folder.resolve("restored/delta.json")));
  }

  @Test
  void rowsThatTheBaseHasNotAreWholeInTheDelta() throws IOException {
    ModelFolder base = model("base", StoredType.F32, 5, false, i -> 1);
    ModelFolder tuned = model("tuned", StoredType.F32, 6, false, i -> 3 + i);
    assertEquals(1, make(base, tuned).paddingRows());
    for (String name : List.of(EMBEDDING, "lm_head.weight")) {
      float[] delta = opened("delta").readFloats(name);
      assertArrayEquals(
          new float[] {2 + 18, 2 + 19, 3 + 20, 3 + 21, 3 + 22, 3 + 23},
          Arrays.copyOfRange(delta, 18, 24));
    }
    assertEquals(1, apply(base).paddingRows());
    assertEquals(6, opened("restored").config().path("vocab_size").asInt());
    assertArrayEquals(
        tuned.readFloats("lm_head.weight"), opened("restored").readFloats("lm_head.weight"));
    RlhfException fewer = assertThrows(RlhfException.class, () -> make(tuned, base));
    assertTrue(
        fewer.getMessage().contains("only the vocabulary may have more"), fewer.getMessage());
  }

  /** Halves have 11 bits: 2048 + 1 is 2048, the nearest even, and so is what cannot be restored. */
  @Test
  void theArithmeticIsThatOfTheFineTunedModelsType() throws IOException {
    ModelFolder base = model("base", StoredType.F32, 5, true, i -> 2049);
    ModelFolder tuned = model("tuned", StoredType.F16, 5, true, i -> i == 0 ? 0.5 : 2050);
    ModelDelta.Result made = make(base, tuned);
    assertEquals(StoredType.F16, made.type());
    // 0.5 - 2048 = -2047.5 is rounded to -2048 (to even), which gives 0 back.
    assertArrayEquals(new float[] {-2048, 2, 2, 2}, opened("delta").readFloats(NORM));
    assertEquals(11, ModelFamilies.of(tuned).parameters().size());
    assertEquals(11, made.inexact());
    assertEquals(made, apply(base));
    assertArrayEquals(new float[] {0, 2050, 2050, 2050}, opened("restored").readFloats(NORM));
    assertEquals("float16", opened("restored").config().path("torch_dtype").asText());
  }

  @Test
  void anotherBaseAndChangedFilesAreFoundOut() throws IOException {
    ModelFolder base = model("base", StoredType.F32, 5, false, i -> i);
    make(base, model("tuned", StoredType.F32, 5, false, i -> 2 * i));
    assertRefused(
        "the delta was made from another base",
        model("other", StoredType.F32, 5, false, i -> i == 3 ? 3.0000002 : i));
    // The same numbers in other files are the same base.
    assertTrue(apply(model("halves", StoredType.F16, 5, false, i -> i)).checked());
    Files.delete(folder.resolve("restored/model.safetensors"));
    Files.delete(folder.resolve("restored/config.json"));
    Files.delete(folder.resolve("restored/tokenizer_config.json"));
    Files.delete(folder.resolve("restored"));

    Path weights = folder.resolve("delta/model.safetensors");
    byte[] content = Files.readAllBytes(weights);
    content[content.length - 2] ^= 1;
    Files.write(weights, content);
    assertRefused("the delta's files were changed", base);
    Path facts = folder.resolve("delta/delta.json");
    Files.writeString(facts, "{\"dtype\": \"int8\"}");
    assertRefused("dtype is \"int8\"", base);
    Files.delete(facts);
    assertFalse(apply(base).checked());
  }

  private void assertRefused(String expected, ModelFolder base) {
    RlhfException error = assertThrows(RlhfException.class, () -> apply(base));
    assertEquals(ExitCode.INPUT, error.exitCode());
    assertTrue(error.getMessage().contains(expected), error.getMessage());
    assertFalse(Files.exists(folder.resolve("restored")));
  }

  @Test
  void modelsThatDoNotFitTogetherAreRefused() throws IOException {
    ModelFolder untied = model("untied", StoredType.F32, 5, false, i -> i);
    ModelFolder tied = model("tied", StoredType.F32, 5, true, i -> i);
    RlhfException error = assertThrows(RlhfException.class, () -> make(untied, tied));
    assertTrue(error.getMessage().contains("tensor lm_head.weight"), error.getMessage());
    error = assertThrows(RlhfException.class, () -> make(tied, untied));
    assertTrue(error.getMessage().contains("lm_head.weight is not in"), error.getMessage());
    ModelFolder other = ModelFolder.open(TinyModel.causalLm(folder.resolve("tiny"), 1));
    assertThrows(RlhfException.class, () -> make(tied, other));
    ModelFolder huge = model("huge", StoredType.F16, 5, true, i -> 60000);
    ModelFolder low = model("low", StoredType.F16, 5, true, i -> -60000);
    error = assertThrows(RlhfException.class, () -> make(low, huge));
    assertEquals(ExitCode.NON_FINITE, error.exitCode());
    assertTrue(error.getMessage().contains("too large for float16"), error.getMessage());
    assertFalse(Files.exists(folder.resolve("delta")));
  }
}
