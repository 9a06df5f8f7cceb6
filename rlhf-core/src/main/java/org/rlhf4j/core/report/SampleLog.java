package org.rlhf4j.core.report;

import java.nio.file.Path;
import java.util.List;

/** {@code samples/step-N.jsonl}: what the model answered after step N, one object per line. */
public final class SampleLog {
  private SampleLog() {}

  /**
   * Writes {@code outputDir/samples/step-N.jsonl} with the fields of {@link Sample}, replacing an
   * earlier one of that step.
   */
  public static Path write(Path outputDir, long step, List<Sample> samples) {
    throw new UnsupportedOperationException();
  }
}
