package org.rlhf4j.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The examples run as they are, from the root of the checkout. */
@Timeout(600)
class ExamplesTest {
  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(
      classes = {
        SftExample.class,
        RewardExample.class,
        RaftExample.class,
        PpoExample.class,
        CustomRewardExample.class
      })
  void runsToItsEnd(Class<?> example) throws IOException, InterruptedException {
    Path root = Path.of("").toAbsolutePath();
    while (!Files.isDirectory(root.resolve("examples/models"))) {
      root = root.getParent();
    }
    Path log = folder.resolve("log.txt");
    Path output = folder.resolve("out");
    Process process =
        new ProcessBuilder(
                List.of(
                    Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                    "-Dai.djl.offline=true",
                    "-cp",
                    System.getProperty("java.class.path"),
                    example.getName(),
                    output.toString()))
            .directory(root.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    assertEquals(0, process.waitFor(), Files.readString(log));
    assertTrue(Files.exists(output.resolve("model.safetensors")));
  }
}
