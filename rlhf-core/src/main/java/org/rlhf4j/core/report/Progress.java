package org.rlhf4j.core.report;

/** One phase of work on the {@link Console}: how far, how fast, how long still. */
public final class Progress implements AutoCloseable {
  Progress() {}

  /** Work done since the last call. */
  public void advance(long units) {
    throw new UnsupportedOperationException();
  }

  /** Sets a number to show beside the bar; the first three names that were set are shown. */
  public void number(String name, double value) {
    throw new UnsupportedOperationException();
  }

  @Override
  public void close() {
    throw new UnsupportedOperationException();
  }
}
