package org.rlhf4j.core.train;

import java.util.concurrent.atomic.AtomicReference;
import org.rlhf4j.core.ExitCode;

/**
 * Asks a running trainer to end: it finishes the optimizer step, or breaks off an evaluation, saves
 * and returns. Any thread may ask; the trainer polls.
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

  /**
   * Breaks off work that need not be finished.
   *
   * @throws Stopped where somebody asked to stop
   */
  public void check() {
    if (requested()) {
      throw new Stopped();
    }
  }

  /**
   * Breaks off a phase of work because somebody asked to stop; whoever began the phase hears it.
   */
  public static final class Stopped extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private Stopped() {
      super("stopped on request", null, false, false);
    }
  }

  /** What the process reports at the end: {@link ExitCode#DONE} unless somebody asked to stop. */
  public ExitCode exitCode() {
    return reason.get();
  }
}
