package org.rlhf4j.core.report;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** {@code curves.csv} and {@code curves.png} of a run, made from the rows of {@link MetricsLog}. */
public final class Curves {
  private Curves() {}

  /**
   * Writes both files into {@code outputDir}. Where the JDK has no fonts the picture is skipped and
   * one line on the console says so.
   */
  public static void write(
      Path outputDir, String title, List<Map<String, Object>> rows, Console console) {
    throw new UnsupportedOperationException();
  }
}
