package org.rlhf4j.core.train;

import ai.djl.ndarray.NDArray;
import java.util.Arrays;
import org.rlhf4j.core.torch.Autograd;

/** A loss of the log-probabilities of a micro-batch's targets, with its derivative. */
public interface TokenLoss {
  /**
   * The loss and its derivative. A step asks once for each of its micro-batches, in their order.
   *
   * @param logProbs of the micro-batch's targets in nats, {@code [targets]}
   * @param rowOfTarget the row in the micro-batch that each target belongs to, {@code [targets]}
   * @param stepTargets targets of the whole step, over all its micro-batches
   */
  Result of(float[] logProbs, int[] rowOfTarget, long stepTargets);

  /**
   * A micro-batch's share of a step's loss.
   *
   * @param loss added over the micro-batches
   * @param ofLogProbs d loss / d log-probability, {@code [targets]}
   */
  record Result(double loss, float[] ofLogProbs) {}

  /**
   * Whether the derivative is the same for all log-probabilities; such a loss takes one pass over
   * the vocabulary less. {@link #of} is then asked twice for each micro-batch: for the derivative
   * with log-probabilities of zero, then for the loss.
   */
  default boolean hasConstantDerivative() {
    return false;
  }

  /**
   * Cross-entropy, the mean over all targets of the step: {@code -sum(log p) / stepTargets}. With
   * gradient accumulation every target counts the same, whatever micro-batch it falls into.
   */
  static TokenLoss meanOverTargets() {
    return new TokenLoss() {
      @Override
      public Result of(float[] logProbs, int[] rowOfTarget, long stepTargets) {
        float[] derivative = new float[logProbs.length];
        double sum = 0;
        for (int i = 0; i < logProbs.length; i++) {
          sum -= logProbs[i];
          derivative[i] = (float) (-1.0 / stepTargets);
        }
        return new Result(sum / stepTargets, derivative);
      }

      @Override
      public boolean hasConstantDerivative() {
        return true;
      }
    };
  }

  /** A loss as a formula of DJL's arrays, for {@link #ofNDArrays}. */
  @FunctionalInterface
  interface Formula {
    /**
     * The loss, written with DJL's operators.
     *
     * @param logProbs of the micro-batch's targets in nats, {@code [targets]}, fp32
     * @param rowOfTarget the row in the micro-batch that each target belongs to, {@code [targets]},
     *     int64
     * @param stepTargets targets of the whole step, over all its micro-batches
     * @return the micro-batch's share of the step's loss: one element that depends on the
     *     log-probabilities
     */
    NDArray of(NDArray logProbs, NDArray rowOfTarget, long stepTargets);
  }

  /**
   * A loss whose derivative PyTorch finds. The formula's arrays lie in main memory whatever device
   * the model is on, and die when the formula has returned.
   */
  static TokenLoss ofNDArrays(Formula formula) {
    return (logProbs, rowOfTarget, stepTargets) -> {
      long[] rows = Arrays.stream(rowOfTarget).asLongStream().toArray();
      Autograd.Differentiated found =
          Autograd.differentiate(
              logProbs, given -> formula.of(given, given.getManager().create(rows), stepTargets));
      return new Result(found.value(), found.derivative());
    };
  }
}
