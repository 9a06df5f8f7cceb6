package org.rlhf4j.core.train;

import java.util.concurrent.atomic.AtomicReference;
import org.rlhf4j.core.ExitCode;

/**
 * Asks a running trainer to end: it finishes the optimizer step, saves and returns. Any thread may
 * ask; the trainer polls.
 */
public final class StopSignal {
  private final AtomicReference<ExitCode> reason = new AtomicReference<>(ExitCode.DONE);

  /**
   * Asks for the end of the run. The first reason counts.
   *
   * @param exitCode what the process shall report, {@link ExitCode#INTERRUPTED} or {@link
   *     ExitCode#TERMINATED}
   */
  public void request(ExitCode exitCode) {
    reason.compareAndSet(ExitCode.DONE, exitCode);
  }

  /** Whether the run shall end now. */
  public boolean requested() {
    return reason.get() != ExitCode.DONE;
  }

  /** What the process reports at the end: {@link ExitCode#DONE} unless somebody asked to stop. */
  public ExitCode exitCode() {
    return reason.get();
  }
}
