package org.rlhf4j.core.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.rlhf4j.core.report.SystemStats;
import org.rlhf4j.core.torch.LiveTensors;
import org.rlhf4j.core.torch.Torch;

/** Tests that work does not grow the process: tensors live outside the Java heap. */
public final class NativeMemory {
  private static final double MIB = 1024 * 1024;
  private static final int SETTLED = 50;

  private NativeMemory() {}

  /** Does one step's work. */
  @FunctionalInterface
  public interface Step {
    void run(int number);
  }

  /**
   * Runs 200 steps. After the 50th, when caches are filled and code is compiled, none may leave a
   * tensor behind, and the resident set may not grow; it is not looked at where the system does not
   * tell it.
   *
   * @param allowedMib growth over 150 steps
   */
  public static void assertStays(Torch torch, double allowedMib, Step step) {
    int tensors = 0;
    Double settled = null;
    for (int number = 1; number <= 200; number++) {
      step.run(number);
      if (number == SETTLED) {
        settled = residentMib();
        tensors = LiveTensors.count(torch);
      }
      if (number > SETTLED) {
        assertEquals(tensors, LiveTensors.count(torch), "tensors after step " + number);
      }
    }
    Double last = residentMib();
    if (settled != null) {
      assertTrue(last - settled < allowedMib, "from " + settled + " to " + last + " MiB");
    }
  }

  private static Double residentMib() {
    System.gc();
    Long bytes = SystemStats.now().residentBytes();
    return bytes == null ? null : bytes / MIB;
  }
}
