package org.rlhf4j.core.report;

import java.nio.file.Path;
import java.util.Map;

/**
 * TensorBoard events of a run ({@code report_to: tensorboard}), in {@code output_dir/tensorboard}.
 */
public final class TensorBoardLog implements AutoCloseable {
  /**
   * Begins a new event file.
   *
   * @param directory created where missing
   * @param firstStep the first step this run will log; what TensorBoard holds from an earlier run
   *     at this step or later is discarded by it. 0 for a new run
   */
  public static TensorBoardLog open(Path directory, long firstStep) {
    throw new UnsupportedOperationException();
  }

  /**
   * Writes every number of a metrics row at the row's {@code step}. As in Hugging Face's trainer,
   * {@code eval_loss} is shown as {@code eval/loss} and {@code loss} as {@code train/loss}; names
   * with a slash stay.
   */
  public void append(Map<String, ?> row) {
    throw new UnsupportedOperationException();
  }

  @Override
  public void close() {
    throw new UnsupportedOperationException();
  }
}
