package org.rlhf4j.reward;

/** A loss of the scores of preference pairs, with its derivative. */
@FunctionalInterface
public interface PairLoss {
  /**
   * The loss and its derivative. A step asks once for each of its micro-batches, in their order; an
   * evaluation once for all its pairs.
   *
   * @param chosen scores of the preferred sides of a micro-batch, {@code [pairs]}
   * @param rejected scores of the other sides, {@code [pairs]}
   * @param margins by how much the scores should at least differ, {@code [pairs]}
   * @param stepPairs pairs of the whole step, over all its micro-batches
   */
  Result of(float[] chosen, float[] rejected, double[] margins, long stepPairs);

  /**
   * A micro-batch's share of a step's loss.
   *
   * @param loss added over the micro-batches
   * @param ofChosen d loss / d chosen score, {@code [pairs]}
   * @param ofRejected d loss / d rejected score, {@code [pairs]}
   */
  record Result(double loss, float[] ofChosen, float[] ofRejected) {}
}
