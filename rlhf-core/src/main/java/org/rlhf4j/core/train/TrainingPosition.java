package org.rlhf4j.core.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.torch.Products;

/**
 * {@code trainer_progress.json}: where a run stands. Rows, learning rate and randomness are
 * functions of the step, so this is little.
 *
 * @param method the verb
 * @param step finished optimizer steps
 * @param epoch passes over the data so far
 * @param trainDataHash of the training rows
 * @param evalDataHash of the evaluation rows, or empty
 * @param window what the next row of metrics is the mean of
 * @param numerics the choices that change bits, as first resolved
 * @param best the best evaluation so far, or null
 * @param evaluationPending whether the evaluation after the step was broken off, and comes first
 * @param metricRows rows of metrics that were written before the checkpoint
 * @param methodState what the method adds, see {@link MethodState}
 */
record TrainingPosition(
    String method,
    long step,
    double epoch,
    String trainDataHash,
    String evalDataHash,
    Window window,
    Numerics numerics,
    BestModel.Found best,
    boolean evaluationPending,
    long metricRows,
    Map<String, Object> methodState) {
  private static final JsonMapper JSON = new JsonMapper();

  /**
   * Sums since the last row of metrics.
   *
   * @param lossSum of the losses of the steps since
   * @param figureSums of the other figures of these steps, by name; of some the largest
   * @param means of those figures of which the row has the variance, by name
   * @param squares sums of their squared distances from the mean, by name
   * @param steps since
   * @param tokens of the whole run so far
   * @param last what is known of the last of these steps; null where there are none
   */
  record Window(
      double lossSum,
      Map<String, Double> figureSums,
      Map<String, Double> means,
      Map<String, Double> squares,
      long steps,
      long tokens,
      LastStep last) {}

  /**
   * A step that waits for its row of metrics.
   *
   * @param epoch passes over the data after it
   * @param gradientNorm before clipping
   * @param learningRate that it used
   */
  record LastStep(double epoch, double gradientNorm, double learningRate) {}

  /**
   * Resolved choices.
   *
   * @param device cpu or cuda:n
   * @param dtype fp32 or bf16
   * @param dtypeReason why that one
   * @param threads of one operation
   * @param products how products with matrices are computed
   * @param savedType of the start model's files
   */
  record Numerics(
      String device,
      String dtype,
      String dtypeReason,
      int threads,
      Products products,
      String savedType) {}

  void write(Path folder) {
    try {
      byte[] text = JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(this);
      AtomicFiles.write(folder.resolve(RunFolder.PROGRESS_FILE), text);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a record of numbers and texts can be written", e);
    }
  }

  static TrainingPosition read(Path folder) {
    Path file = folder.resolve(RunFolder.PROGRESS_FILE);
    try {
      TrainingPosition position = JSON.readValue(file.toFile(), TrainingPosition.class);
      if (position.window.squares == null
          || position.numerics.device == null
          || position.numerics.products == null) {
        throw RlhfException.input(
            file + " was written by an earlier version of the library, which kept less in it");
      }
      return position;
    } catch (IOException e) {
      throw RlhfException.input(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  /**
   * Requires that it was the same method.
   *
   * @param folder the checkpoint
   * @throws RlhfException naming both
   */
  void requireMethod(String now, Path folder) {
    if (!method.equals(now)) {
      throw RlhfException.config(
          "resume_from_checkpoint: %s is of a run of %s, this is one of %s"
              .formatted(folder, method, now));
    }
  }
}
