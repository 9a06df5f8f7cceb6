package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.testing.Mutation;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;

/**
 * Whatever a configuration says, the folder is loaded or one line says what is wrong: no other
 * exception, no endless loop, no memory for tensors that are not there.
 */
class ModelFuzzTest {
  private static final int ROUNDS = 200;
  private static final List<String> CONFIGURATIONS =
      List.of("config.json", "adapter_config.json", "model.safetensors.index.json");

  private static Torch torch;

  @TempDir Path temporary;

  @BeforeAll
  static void open() {
    torch = Torch.open("cpu");
  }

  @AfterAll
  static void close() {
    torch.close();
  }

  static Stream<Path> configurations() throws IOException {
    List<Path> found =
        Shared.folders("golden/models").stream()
            .flatMap(folder -> CONFIGURATIONS.stream().map(folder::resolve))
            .filter(Files::exists)
            .toList();
    assertFalse(found.isEmpty());
    return found.stream();
  }

  @ParameterizedTest
  @MethodSource("configurations")
  @Timeout(600)
  void aLoadedModelOrACleanError(Path original) throws IOException {
    Path folder = Files.createDirectory(temporary.resolve("model"));
    try (Stream<Path> files = Files.list(original.getParent())) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        Files.copy(file, folder.resolve(file.getFileName()));
      }
    }
    Path file = folder.resolve(original.getFileName());
    byte[] whole = whole(original);
    Files.write(file, whole);
    ModelFamilies.Model intact = ModelFamilies.of(ModelFolder.open(folder));
    SplittableRandom random = new SplittableRandom(5);
    int refused = 0;
    for (int round = 0; round < ROUNDS; round++) {
      // A new file each time: some file systems write a file to the disk that is cut and refilled.
      Files.delete(file);
      Files.write(file, Mutation.of(whole, 0, whole.length, random));
      try {
        load(folder, intact);
      } catch (RlhfException e) {
        assertEquals(ExitCode.INPUT, e.exitCode());
        assertTrue(e.getMessage().startsWith("/"), e.getMessage());
        assertEquals(1, e.getMessage().lines().count(), e.getMessage());
        assertTrue(e.getMessage().length() < 2000, e.getMessage());
        refused++;
      } catch (RuntimeException | Error e) {
        throw new AssertionError(Files.readString(file), e);
      }
    }
    assertTrue(refused > ROUNDS / 10, refused + " of " + ROUNDS + " refused");
  }

  /** The bytes of a file; an adapter's says where its model lies, seen from everywhere. */
  private static byte[] whole(Path original) throws IOException {
    Path beside = original.getParent().getParent();
    String text = Files.readString(original);
    return text.replace("\"../", "\"" + beside + "/").getBytes(StandardCharsets.UTF_8);
  }

  private static void load(Path path, ModelFamilies.Model intact) {
    ModelFolder folder = ModelFolder.open(path);
    ModelFamilies.Model model = ModelFamilies.of(folder);
    if (model.spec().equals(intact.spec()) && model.head() == intact.head()) {
      return;
    }
    ModelLoader.Options options = new ModelLoader.Options(ElementType.FP32, false);
    if (model.head() == ModelHead.CAUSAL_LM) {
      ModelLoader.causalLm(torch, folder, options).close();
    } else {
      ModelLoader.rewardModel(torch, folder, options, 0).close();
    }
  }
}
