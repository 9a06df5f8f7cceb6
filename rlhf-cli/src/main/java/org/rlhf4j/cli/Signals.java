package org.rlhf4j.cli;

import java.io.PrintStream;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.train.StopSignal;
import sun.misc.Signal;

/** Turns SIGINT and SIGTERM into a request to finish what is under way, save and end. */
final class Signals {
  private Signals() {}

  /** From now on the first signal sets {@code stop}; a second one ends the process at once. */
  static void handle(StopSignal stop, PrintStream err) {
    handle("INT", ExitCode.INTERRUPTED, stop, err);
    handle("TERM", ExitCode.TERMINATED, stop, err);
  }

  private static void handle(String name, ExitCode exitCode, StopSignal stop, PrintStream err) {
    Signal.handle(
        new Signal(name),
        signal -> {
          if (stop.requested()) {
            Runtime.getRuntime().halt(exitCode.code());
          }
          stop.request(exitCode);
          err.println(
              "Stopping: what is under way is finished and saved first. Again ends at once.");
        });
  }
}
