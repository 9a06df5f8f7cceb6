package org.rlhf4j.core.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.RlhfException;

class RunLockTest {
  @TempDir Path folder;

  /** Another process, which says what it finds. */
  static final class Other {
    private Other() {}

    /** Looks at a folder, then begins a run in it. */
    public static void main(String[] args) {
      Path folder = Path.of(args[0]);
      System.out.println(found(() -> RunLock.requireFree(folder, System.out::println)));
      System.out.println(found(() -> RunLock.take(folder, System.out::println).close()));
    }

    private static String found(Runnable action) {
      try {
        action.run();
        return "free";
      } catch (RlhfException e) {
        return e.getMessage();
      }
    }
  }

  private List<String> otherProcess() throws IOException {
    Process other =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                Other.class.getName(),
                folder.toString())
            .redirectErrorStream(true)
            .start();
    return new String(other.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
        .lines()
        .toList();
  }

  @Test
  void keepsOtherProcessesOutUntilItIsClosed() throws IOException {
    String refused =
        "output_dir: another run is writing to " + folder + "; wait for its end, or choose another";
    Path file = folder.resolve(RunLock.FILE_NAME);
    Files.writeString(file, "left by a run that was killed");
    try (RunLock lock = RunLock.take(folder, line -> {})) {
      assertEquals(0, Files.size(file));
      assertEquals(List.of(refused, refused), otherProcess());
    }
    assertEquals(List.of("free", "free"), otherProcess());
  }

  @Test
  void aSecondRunOfTheSameProcess() {
    List<String> messages;
    try (RunLock lock = RunLock.take(folder, line -> {})) {
      messages =
          List.of(
              assertThrows(RlhfException.class, () -> RunLock.take(folder, line -> {}))
                  .getMessage(),
              assertThrows(RlhfException.class, () -> RunLock.requireFree(folder, line -> {}))
                  .getMessage());
    }
    messages.forEach(message -> assertTrue(message.contains("another run is writing"), message));
    RunLock.requireFree(folder, line -> {});
  }
}
