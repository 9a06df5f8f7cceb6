package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.train.StopSignal;
import sun.misc.Signal;
import sun.misc.SignalHandler;

class SignalsTest {
  @Test
  @Timeout(300)
  void sigtermAsksForTheEndAndSaysSo() throws InterruptedException {
    SignalHandler term = Signal.handle(new Signal("TERM"), SignalHandler.SIG_DFL);
    SignalHandler interrupt = Signal.handle(new Signal("INT"), SignalHandler.SIG_DFL);
    StopSignal stop = new StopSignal();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    try {
      Signals.handle(stop, new PrintStream(err, true, StandardCharsets.UTF_8));
      Signal.raise(new Signal("TERM"));
      while (!stop.requested() || err.size() == 0) {
        Thread.sleep(5);
      }
      assertEquals(ExitCode.TERMINATED, stop.exitCode());
      assertTrue(err.toString(StandardCharsets.UTF_8).startsWith("Stopping: "));
    } finally {
      Signal.handle(new Signal("TERM"), term);
      Signal.handle(new Signal("INT"), interrupt);
    }
  }
}
