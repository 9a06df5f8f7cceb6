package org.rlhf4j.core.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.rlhf4j.core.ExitCode;

class StopSignalTest {
  @Test
  void theFirstReasonCounts() {
    StopSignal stop = new StopSignal();
    assertFalse(stop.requested());
    assertEquals(ExitCode.DONE, stop.exitCode());
    stop.request(ExitCode.TERMINATED);
    stop.request(ExitCode.INTERRUPTED);
    assertTrue(stop.requested());
    assertEquals(ExitCode.TERMINATED, stop.exitCode());
  }
}
