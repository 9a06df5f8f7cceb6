package org.rlhf4j.core.train;

import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.DataOrder;

/**
 * Which rows each optimizer step sees: a pure function of the step, so the step's number is all
 * that a resumed run needs to know. An epoch visits every row once; a short last batch is used.
 *
 * @param rows in the data set
 * @param batchSize rows of a micro-batch
 * @param accumulation micro-batches of a step
 * @param totalSteps of the run
 * @param order how rows are shuffled
 */
public record BatchPlan(int rows, int batchSize, int accumulation, long totalSteps, Order order) {

  /** The order of rows is a function of the seed and the epoch. */
  public record Order(long seed, boolean shuffle) {}

  /**
   * A plan of a number of epochs, or of a number of steps where that is given.
   *
   * @param epochs may be a fraction
   * @param maxSteps -1 for none
   */
  public static BatchPlan of(int rows, Size size, double epochs, long maxSteps, Order order) {
    if (rows == 0) {
      throw RlhfException.input("no row with a target is left to train on");
    }
    BatchPlan one = new BatchPlan(rows, size.batchSize, size.accumulation, 0, order);
    long total = maxSteps > 0 ? maxSteps : (long) Math.ceil(epochs * one.stepsPerEpoch());
    return new BatchPlan(rows, size.batchSize, size.accumulation, total, order);
  }

  /** Rows of a micro-batch, and micro-batches of a step. */
  public record Size(int batchSize, int accumulation) {}

  /** Optimizer steps of one pass over the rows. */
  public long stepsPerEpoch() {
    long perStep = (long) batchSize * accumulation;
    return (rows + perStep - 1) / perStep;
  }

  /** How many epochs are done after that many steps. */
  public double epochAfter(long steps) {
    long full = steps / stepsPerEpoch();
    long inEpoch = steps % stepsPerEpoch();
    return full + (double) inEpoch * batchSize * accumulation / rows;
  }

  /**
   * The row indices of a step's micro-batches.
   *
   * @param step counted from 0
   */
  public List<int[]> microBatches(long step) {
    int epoch = (int) (step / stepsPerEpoch());
    int[] visited = DataOrder.order(rows, order.seed(), epoch, order.shuffle());
    int from = Math.toIntExact(step % stepsPerEpoch() * batchSize * accumulation);
    int end = (int) Math.min(rows, from + (long) batchSize * accumulation);
    List<int[]> batches = new ArrayList<>();
    for (int start = from; start < end; start += batchSize) {
      int[] batch = new int[Math.min(batchSize, end - start)];
      System.arraycopy(visited, start, batch, 0, batch.length);
      batches.add(batch);
    }
    return batches;
  }
}
