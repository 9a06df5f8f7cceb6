package org.rlhf4j.core.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.rlhf4j.core.checkpoint.AtomicFiles;

/** {@code samples/step-N.jsonl}: what the model answered after step N, one object per line. */
public final class SampleLog {
  private SampleLog() {}

  /**
   * Writes {@code outputDir/samples/step-N.jsonl} with the fields of {@link Sample}, replacing an
   * earlier one of that step.
   */
  public static Path write(Path outputDir, long step, List<Sample> samples) {
    Path file = outputDir.resolve("samples").resolve("step-" + step + ".jsonl");
    StringBuilder lines = new StringBuilder();
    for (Sample sample : samples) {
      try {
        lines.append(ReportFiles.JSON.writeValueAsString(sample)).append('\n');
      } catch (JsonProcessingException e) {
        throw new IllegalArgumentException("not writable as JSON: " + sample, e);
      }
    }
    AtomicFiles.write(file, lines.toString().getBytes(StandardCharsets.UTF_8));
    return file;
  }
}
