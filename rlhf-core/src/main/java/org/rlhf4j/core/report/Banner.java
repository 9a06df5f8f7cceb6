package org.rlhf4j.core.report;

import java.util.List;
import java.util.Map;

/**
 * What is shown before the first step, in at most {@value #MAX_LINES} lines.
 *
 * @param title the verb, as {@code sft}
 * @param version the library's version
 * @param model path and architecture of the start model
 * @param compute device, dtype and threads, as {@code cpu · bf16 · 2 threads}
 * @param totalParameters all parameters of the model
 * @param trainableParameters those that the optimizer changes
 * @param batch the batch arithmetic, or null where nothing is trained
 * @param data one entry per data set
 * @param sample one decoded row with its loss tokens marked, or null
 * @param notes further facts by name, as stop tokens or estimated memory
 * @param outputDir where files go
 */
public record Banner(
    String title,
    String version,
    String model,
    String compute,
    long totalParameters,
    long trainableParameters,
    Batch batch,
    List<DataSummary> data,
    MarkedText sample,
    Map<String, String> notes,
    String outputDir) {
  /** The most lines a banner takes. */
  public static final int MAX_LINES = 25;

  /**
   * Rows per optimizer step and steps per run.
   *
   * @param unit what a row is: {@code rows}, {@code pairs} or {@code queries}
   * @param perDevice rows of one micro batch
   * @param accumulation micro batches per optimizer step
   * @param rows rows of an epoch
   * @param epochs passes over the data
   * @param steps optimizer steps of the run
   */
  public record Batch(
      String unit, int perDevice, int accumulation, long rows, double epochs, long steps) {}
}
