package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.train.StopSignal;

/** {@code demo} as it is called, which takes minutes: each is stopped on its way. */
class DemoVerbTest {
  @TempDir private Path temporary;
  private final StopSignal stop = new StopSignal();

  /** Asks to stop as soon as a run has said where everything goes. */
  private final class Screen extends ByteArrayOutputStream {
    @Override
    public synchronized void write(byte[] bytes, int from, int length) {
      super.write(bytes, from, length);
      stop.request(ExitCode.TERMINATED);
    }
  }

  /** What it says; its exit code is that of the stop. */
  private String run(String demo, Path folder, ByteArrayOutputStream screen) {
    PrintStream out = new PrintStream(screen, true, StandardCharsets.UTF_8);
    List<String> words =
        List.of("demo", demo, "--output_dir", folder.toString(), "--seed", "5", "--seeds", "2");
    ExitCode code = Main.run(Verbs.ALL, new Session(out, out, stop, words));
    String said = screen.toString(StandardCharsets.UTF_8);
    assertEquals(ExitCode.TERMINATED, code, said);
    assertTrue(said.startsWith("Everything goes to " + folder), said);
    return said;
  }

  @Test
  void ablationsEndWhereTheyAreStopped() {
    Path folder = temporary.resolve("ablations");
    String said = run("ppo-ablations", folder, new Screen());
    assertTrue(Files.exists(folder.resolve("sft.jsonl")), said);
    assertFalse(Files.exists(folder.resolve("sft/model.safetensors")), said);
    assertFalse(Files.exists(folder.resolve("pairs.jsonl")), said);
    assertFalse(said.contains("Data"), said);
  }

  /** Stopped once both have begun. */
  @Test
  void overOptimisationTrainsAWorldForEachSeed() throws InterruptedException {
    Path folder = temporary.resolve("over");
    Path first = folder.resolve("seed-5/base/config.json");
    Path second = folder.resolve("seed-6/base/config.json");
    Thread watching =
        new Thread(
            () -> {
              while (!stop.requested() && !(Files.exists(first) && Files.exists(second))) {
                LockSupport.parkNanos(10_000_000);
              }
              stop.request(ExitCode.TERMINATED);
            });
    watching.start();
    String said;
    try {
      said = run("over-optimisation", folder, new ByteArrayOutputStream());
    } finally {
      // Where the run has ended by itself nobody else would end the watching.
      stop.request(ExitCode.TERMINATED);
      watching.join();
    }
    assertTrue(Files.exists(first) && Files.exists(second), said);
    assertFalse(Files.exists(folder.resolve("finding.txt")), said);
  }
}
