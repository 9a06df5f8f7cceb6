package org.rlhf4j.core.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.testing.Shared;

class ModelFolderTest {
  @TempDir Path folder;

  @BeforeEach
  void writeConfig() throws IOException {
    Files.writeString(folder.resolve("config.json"), "{}");
  }

  private void assertRefused(String expected) {
    RlhfException error = assertThrows(RlhfException.class, () -> ModelFolder.open(folder));
    assertEquals(ExitCode.INPUT, error.exitCode());
    assertTrue(error.getMessage().startsWith(folder.toString()), error.getMessage());
    assertTrue(error.getMessage().contains(expected), error.getMessage());
  }

  private static TensorSource tensor(String name, StoredType type, float... values) {
    return TensorSource.floats(name, type, new long[] {values.length}, values);
  }

  private void shard(String file, TensorSource... tensors) {
    SafetensorsWriter.write(folder.resolve(file), List.of(tensors), Map.of());
  }

  private void index(String map) throws IOException {
    Files.writeString(
        folder.resolve("model.safetensors.index.json"), "{\"weight_map\": {" + map + "}}");
  }

  @Test
  void whatIsMissingIsNamed() throws IOException {
    assertRefused(
        "no weights, expected one of model.safetensors, model.safetensors.index.json,"
            + " pytorch_model.bin, pytorch_model.bin.index.json");
    Files.delete(folder.resolve("config.json"));
    assertRefused("config.json is missing");
    Path missing = folder.resolve("none");
    RlhfException error = assertThrows(RlhfException.class, () -> ModelFolder.open(missing));
    assertEquals(missing + ": there is no such model folder", error.getMessage());
    Path file = Files.createFile(folder.resolve("file"));
    assertThrows(RlhfException.class, () -> ModelFolder.open(file));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"a\": 1, \"a\": 2} | no valid JSON: Duplicate field 'a'",
        "[] | a JSON object is expected, found array",
        "`` | a JSON object is expected, found nothing",
        "{\"a\": | no valid JSON",
        "{} {} | no valid JSON",
      })
  void aBrokenConfigurationIsNamed(String config, String expected) throws IOException {
    Files.writeString(folder.resolve("config.json"), config);
    assertRefused(expected);
  }

  @Test
  void readsShardsThroughTheIndex() throws IOException {
    index("\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"");
    shard("one.safetensors", tensor("a", StoredType.BF16, 1f, 2f));
    assertRefused("missing weight files two.safetensors");
    shard("two.safetensors", tensor("b", StoredType.F32, 3f));
    ModelFolder opened = ModelFolder.open(folder);
    assertArrayEquals(new float[] {1f, 2f}, opened.readFloats("a"));
    assertArrayEquals(new float[] {3f}, opened.readFloats("b"));
    assertEquals(StoredType.BF16, opened.storedType());
    RlhfException error = assertThrows(RlhfException.class, () -> opened.info("c"));
    assertEquals(folder + ": tensor c is missing", error.getMessage());
  }

  @Test
  void anIndexThatDoesNotFitIsNamed() throws IOException {
    TensorSource a = tensor("a", StoredType.F32, 1f);
    TensorSource b = tensor("b", StoredType.F32, 1f);
    shard("one.safetensors", a);
    shard("two.safetensors", b);
    index("\"a\": \"one.safetensors\", \"c\": \"two.safetensors\", \"b\": \"two.safetensors\"");
    assertRefused("tensor c is missing");
    index("\"a\": \"one.safetensors\", \"c\": \"two.safetensors\"");
    assertRefused("tensor b of");
    shard("two.safetensors", a, b);
    index("\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"");
    assertRefused("tensor a is in");
    index("\"a\": \"../one.safetensors\"");
    assertRefused("weight_map.a must be the name of a .safetensors file");
    index("\"a\": 1");
    assertRefused("weight_map.a must be the name of a .safetensors file");
    index("");
    assertRefused("weight_map must be an object");
  }

  @Test
  void carriesTheFilesThatBelongToAModelEvenIfTheyAreGone() throws IOException {
    shard("model.safetensors", tensor("a", StoredType.F32, 1f));
    for (String name : List.of("tokenizer.json", "generation_config.json", "optimizer.pt")) {
      Files.writeString(folder.resolve(name), "{\"eos_token_id\": 7}");
    }
    ModelFolder opened = ModelFolder.open(folder);
    assertEquals(7, opened.generationConfig().orElseThrow().get("eos_token_id").intValue());
    Files.delete(folder.resolve("tokenizer.json"));
    Path target = Files.createDirectory(folder.resolve("target"));
    opened.carryTo(target);
    try (Stream<Path> files = Files.list(target)) {
      assertEquals(
          List.of(target.resolve("generation_config.json"), target.resolve("tokenizer.json")),
          files.sorted().toList());
    }
    assertEquals("{\"eos_token_id\": 7}", Files.readString(target.resolve("tokenizer.json")));
  }

  @ParameterizedTest
  @CsvSource({
    "llama-gqa,F32",
    "llama-sharded,F32",
    "llama-tied-legacy,F32",
    "llama-bf16-checkpoint,BF16",
    "llama-fp16-checkpoint,F16"
  })
  void knowsWhatTheGoldenFoldersAreStoredAs(String name, StoredType expected) {
    assertEquals(expected, ModelFolder.open(Shared.path("golden/models/" + name)).storedType());
  }
}
