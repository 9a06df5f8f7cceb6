package org.rlhf4j.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The examples run as they are, from the root of the checkout. */
@Timeout(600)
class ExamplesTest {
  private static final List<Class<?>> EXAMPLES =
      List.of(
          SftExample.class,
          RewardExample.class,
          RaftExample.class,
          PpoExample.class,
          CustomRewardExample.class,
          GrpoExample.class,
          OwnMethodExample.class);

  @TempDir Path folder;

  /** Runs all examples in one process, each into a folder of its name. */
  static final class All {
    private All() {}

    public static void main(String[] folders) throws ReflectiveOperationException {
      for (Class<?> example : EXAMPLES) {
        String[] output = {Path.of(folders[0], example.getSimpleName()).toString()};
        example.getMethod("main", String[].class).invoke(null, (Object) output);
      }
    }
  }

  @Test
  void runToTheirEnd() throws IOException, InterruptedException {
    Path root = Path.of("").toAbsolutePath();
    while (!Files.isDirectory(root.resolve("examples/models"))) {
      root = root.getParent();
    }
    Path log = folder.resolve("log.txt");
    Process process =
        new ProcessBuilder(
                List.of(
                    Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                    "-Dai.djl.offline=true",
                    "-cp",
                    System.getProperty("java.class.path"),
                    All.class.getName(),
                    folder.toString()))
            .directory(root.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    assertEquals(0, process.waitFor(), Files.readString(log));
    for (Class<?> example : EXAMPLES) {
      Path model = folder.resolve(example.getSimpleName()).resolve("model.safetensors");
      assertTrue(Files.exists(model), model.toString());
    }
  }
}
