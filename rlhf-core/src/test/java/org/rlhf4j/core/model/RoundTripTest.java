package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SaveFormat;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;

/** A model that was read and written is the same, bit for bit, whatever form it came in. */
class RoundTripTest {
  /** Some files for the smallest of the golden models. */
  private static final long SMALL_SHARDS = 20_000;

  private static final int PAD = 0;

  private static Torch torch;

  @TempDir Path folder;

  @BeforeAll
  static void open() {
    torch = Torch.open("cpu");
  }

  @AfterAll
  static void close() {
    torch.close();
  }

  /** Every folder with a configuration of a family that is supported. */
  static Stream<Path> folders() throws IOException {
    List<Path> found =
        Shared.folders("golden/models").stream()
            .filter(each -> Files.exists(each.resolve("config.json")))
            .toList();
    assertFalse(found.isEmpty());
    return found.stream();
  }

  private static Path write(ModelFolder start, Path target, SaveFormat format) throws IOException {
    Files.createDirectory(target);
    ModelLoader.Options options = new ModelLoader.Options(ElementType.FP32, false);
    if (ModelFamilies.of(start).head() == ModelHead.CAUSAL_LM) {
      try (CausalLm model = ModelLoader.causalLm(torch, start, options)) {
        ModelWriter.causalLm(target, start, model.weights(), format);
      }
    } else {
      try (RewardModel model = ModelLoader.rewardModel(torch, start, options, 0)) {
        ModelWriter.rewardModel(target, start, model.weights(), format, PAD);
      }
    }
    return target;
  }

  private static byte[] bytes(ModelFolder folder, String name) {
    ByteBuffer bytes = ByteBuffer.allocate((int) folder.info(name).byteLength());
    folder.fileOf(name).readBytes(name, 0, bytes);
    return bytes.array();
  }

  @ParameterizedTest
  @MethodSource("folders")
  void everyGoldenFolderComesBack(Path original) throws IOException {
    ModelFolder start = ModelFolder.open(original);
    ModelFamilies.Model model = ModelFamilies.of(start);
    StoredType type = start.storedType();
    for (long shardBytes : new long[] {SMALL_SHARDS, Long.MAX_VALUE}) {
      Path written =
          write(start, folder.resolve("by-" + shardBytes), new SaveFormat(type, shardBytes));
      ModelFolder again = ModelFolder.open(written);
      assertEquals(model.spec(), ModelFamilies.of(again).spec());
      assertEquals(model.head(), ModelFamilies.of(again).head());
      assertEquals(type, again.storedType());
      // No tied copy, no derived buffer, and names with the prefix.
      assertEquals(
          model.parameters().stream().map(ParameterSpec::name).collect(Collectors.toSet()),
          new TreeSet<>(again.tensorNames()));
      for (ParameterSpec parameter : model.parameters()) {
        String name = parameter.name();
        assertArrayEquals(bytes(start, model.storedName(start, name)), bytes(again, name), name);
      }
      boolean sharded = shardBytes == SMALL_SHARDS;
      assertEquals(sharded, Files.exists(written.resolve("model.safetensors.index.json")));
      assertEquals(!sharded, Files.exists(written.resolve("model.safetensors")));
      for (String carried : List.of("generation_config.json", "tokenizer.json")) {
        assertEquals(
            Files.exists(original.resolve(carried)), Files.exists(written.resolve(carried)));
        if (Files.exists(original.resolve(carried))) {
          assertEquals(
              -1, Files.mismatch(original.resolve(carried), written.resolve(carried)), carried);
        }
      }
    }
  }

  @Test
  void theFilesOfTokenizersAndTemplatesComeUnchanged() throws IOException {
    Path start = TinyModel.causalLm(folder.resolve("start"), 1);
    List<String> names =
        List.of(
            "generation_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "added_tokens.json",
            "tokenizer.model",
            "vocab.json",
            "merges.txt",
            "chat_template.jinja",
            "chat_template.json");
    for (String name : names) {
      Files.writeString(start.resolve(name), "{ \"of\":\r\n\"" + name + "\" }\n\n");
    }
    SaveFormat format = new SaveFormat(StoredType.F32, Long.MAX_VALUE);
    Path written = write(ModelFolder.open(start), folder.resolve("written"), format);
    for (String name : names) {
      assertEquals(-1, Files.mismatch(start.resolve(name), written.resolve(name)), name);
    }
  }

  @Test
  void otherTypesAreTheNearestNumbers() throws IOException {
    ModelFolder start = ModelFolder.open(TinyModel.causalLm(folder.resolve("start"), 1));
    float[] truth = start.readFloats("model.norm.weight");
    for (StoredType type : List.of(StoredType.BF16, StoredType.F16)) {
      Path written =
          write(start, folder.resolve(type.name()), new SaveFormat(type, Long.MAX_VALUE));
      ModelFolder again = ModelFolder.open(written);
      assertEquals(type, again.storedType());
      assertEquals(type.configName(), again.config().path("torch_dtype").asText());
      float[] found = again.readFloats("model.norm.weight");
      // Half a unit in the last of 8 or 11 bits.
      double unit = type == StoredType.BF16 ? 1 / 256.0 : 1 / 2048.0;
      for (int i = 0; i < truth.length; i++) {
        assertEquals(truth[i], found[i], Math.abs(truth[i]) * unit);
      }
      assertTrue(Files.size(written.resolve("model.safetensors")) < 30_000);
    }
  }
}
