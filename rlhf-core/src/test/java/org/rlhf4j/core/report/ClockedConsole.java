package org.rlhf4j.core.report;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/** A console of plain lines whose clock a test moves. */
public final class ClockedConsole {
  private static final int WIDTH = 100;

  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private long nanos;

  /** The console. */
  public Console console() {
    PrintStream out = new PrintStream(bytes, true, StandardCharsets.UTF_8);
    return new Console(out, false, false, WIDTH, () -> nanos);
  }

  /** Moves the clock on. */
  public void pass(int seconds) {
    nanos += seconds * 1_000_000_000L;
  }

  /** What was written so far. */
  public String text() {
    return bytes.toString(StandardCharsets.UTF_8);
  }
}
