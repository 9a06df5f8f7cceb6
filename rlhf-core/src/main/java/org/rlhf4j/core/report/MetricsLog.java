package org.rlhf4j.core.report;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * {@code metrics.jsonl}: one JSON object per line, in the order in which things happened. Every row
 * has an integral {@code step}. Numbers keep their full precision; one that is not finite is
 * refused.
 *
 * <p>A checkpoint of step N is written after all rows of step N, so a resumed run that cuts the
 * file back to N ends with the rows of the uninterrupted one, but for the fields of {@link
 * MetricNames#isWallClock}.
 */
public final class MetricsLog implements AutoCloseable {
  /** The file's name within {@code output_dir}. */
  public static final String FILE_NAME = "metrics.jsonl";

  /** Starts a new file; one that exists is replaced. */
  public static MetricsLog create(Path file) {
    throw new UnsupportedOperationException();
  }

  /**
   * Continues after the checkpoint of {@code step}: rows of later steps and a torn last line are
   * removed, in one atomic rewrite; a file that does not exist is begun. Step 0 keeps only an
   * evaluation before training, so a run that died before its first checkpoint calls {@link
   * #create} instead.
   */
  public static MetricsLog resume(Path file, long step) {
    throw new UnsupportedOperationException();
  }

  /**
   * All rows of a file, numbers as {@code Long} or {@code Double}. A torn last line is left out.
   */
  public static List<Map<String, Object>> read(Path file) {
    throw new UnsupportedOperationException();
  }

  /**
   * Writes one row and hands it to the operating system before returning.
   *
   * @param row ordered fields: numbers, strings, booleans, lists of these, or null
   */
  public void append(Map<String, ?> row) {
    throw new UnsupportedOperationException();
  }

  /** All rows of the run so far, those before a resume included. */
  public List<Map<String, Object>> rows() {
    throw new UnsupportedOperationException();
  }

  /** The rows without wall-clock fields: {@code log_history} of {@link TrainerState}. */
  public List<Map<String, Object>> logHistory() {
    throw new UnsupportedOperationException();
  }

  /** Forces what was written onto the disk; call before a checkpoint is completed. */
  public void sync() {
    throw new UnsupportedOperationException();
  }

  @Override
  public void close() {
    throw new UnsupportedOperationException();
  }
}
