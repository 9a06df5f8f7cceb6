package org.rlhf4j.core.train;

import java.util.List;
import java.util.Map;
import org.rlhf4j.core.report.Console;

/**
 * What surrounds a run.
 *
 * @param console where it shows what it does
 * @param stop asks it to end early
 * @param listener told every row of metrics, as it is written
 * @param command the command line, or empty where the library was called from Java
 */
public record RunContext(
    Console console, StopSignal stop, MetricsListener listener, List<String> command) {

  /** Hears the metrics of a run. */
  @FunctionalInterface
  public interface MetricsListener {
    /** One row of {@code metrics.jsonl}. */
    void metrics(Map<String, Object> row);
  }

  /** A run that shows nothing and is not stopped. */
  public static RunContext silent() {
    return new RunContext(Console.silent(), new StopSignal(), row -> {}, List.of());
  }

  /** A run from Java that shows itself on standard output. */
  public static RunContext standard() {
    return new RunContext(Console.standard(), new StopSignal(), row -> {}, List.of());
  }
}
