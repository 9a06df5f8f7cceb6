package org.rlhf4j.core.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.report.SystemStats;
import org.rlhf4j.core.torch.LiveTensors;
import org.rlhf4j.core.torch.Torch;

/** Tests that work does not grow the process: tensors live outside the Java heap. */
public final class NativeMemory {
  private static final double MIB = 1024 * 1024;

  /** How often at most the virtual machine may have grown. */
  private static final int MOST_PASSES = 5;

  private NativeMemory() {}

  /** Does one step's work. */
  @FunctionalInterface
  public interface Step {
    void run(int number);
  }

  /**
   * Runs 200 steps.
   *
   * @param allowedMib growth over the last 150
   */
  public static void assertStays(Torch torch, double allowedMib, Step step) {
    assertStays(torch, 200, allowedMib, step);
  }

  /**
   * Runs steps. After a quarter of them, when caches are filled and code is compiled, none may
   * leave a tensor behind, and the resident set may not grow; it is not looked at where the system
   * does not tell it. The virtual machine itself may still grow, the later the slower the machine:
   * then the other three quarters are run again, where a leak would take as much each time.
   *
   * @param allowedMib growth over three quarters
   */
  public static void assertStays(Torch torch, int steps, double allowedMib, Step step) {
    for (int number = 1; number <= steps / 4; number++) {
      step.run(number);
    }
    int tensors = LiveTensors.count(torch);
    List<Double> resident = new ArrayList<>();
    resident.add(residentMib());
    for (int pass = 1; pass <= MOST_PASSES; pass++) {
      resident.add(further(torch, steps, tensors, step));
      if (resident.get(0) == null || resident.get(pass) - resident.get(pass - 1) < allowedMib) {
        return;
      }
    }
    fail("each pass takes " + allowedMib + " MiB or more: " + resident);
  }

  private static Double further(Torch torch, int steps, int tensors, Step step) {
    for (int number = steps / 4 + 1; number <= steps; number++) {
      step.run(number);
      assertEquals(tensors, LiveTensors.count(torch), "tensors after step " + number);
    }
    return residentMib();
  }

  private static Double residentMib() {
    System.gc();
    Long bytes = SystemStats.now().residentBytes();
    return bytes == null ? null : bytes / MIB;
  }
}
