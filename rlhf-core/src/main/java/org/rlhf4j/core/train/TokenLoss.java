package org.rlhf4j.core.train;

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
}
