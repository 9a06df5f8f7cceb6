package org.rlhf4j.core.testing;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.rlhf4j.core.report.SystemStats;

/** Tests that work does not grow the process: tensors live outside the Java heap. */
public final class NativeMemory {
  private static final double MIB = 1024 * 1024;

  private NativeMemory() {}

  /** Does one step's work. */
  @FunctionalInterface
  public interface Step {
    void run(int number);
  }

  /**
   * Runs 200 steps and compares the resident set after the first 50, when caches are filled and
   * code is compiled, with the one after the last. Skips the calling test where the system does not
   * tell the resident set.
   *
   * @param allowedMib growth over 150 steps
   */
  public static void assertStays(double allowedMib, Step step) {
    assumeTrue(SystemStats.now().residentBytes() != null, "no resident set on this system");
    double settled = 0;
    for (int number = 1; number <= 200; number++) {
      step.run(number);
      if (number == 50) {
        settled = residentMib();
      }
    }
    double last = residentMib();
    assertTrue(last - settled < allowedMib, "from " + settled + " to " + last + " MiB");
  }

  private static double residentMib() {
    System.gc();
    return SystemStats.now().residentBytes() / MIB;
  }
}
