package org.rlhf4j.core.data;

import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;

/** The order of the rows within an epoch, as a pure function: a resumed run finds its place. */
public final class DataOrder {
  private DataOrder() {}

  /**
   * The rows in the order of an epoch.
   *
   * @param size number of rows
   * @param seed the run's seed
   * @param epoch the epoch, from 0
   * @param shuffle false: 0, 1, 2, …
   * @return a permutation of 0 … size-1 (Fisher-Yates)
   */
  public static int[] order(int size, long seed, int epoch, boolean shuffle) {
    return order(size, seed, RandomStream.DATA_ORDER, epoch, shuffle);
  }

  /** As {@link #order(int, long, int, boolean)}, for what another stream orders. */
  public static int[] order(int size, long seed, RandomStream stream, int epoch, boolean shuffle) {
    int[] order = new int[size];
    for (int i = 0; i < size; i++) {
      order[i] = i;
    }
    if (shuffle) {
      for (int i = size - 1; i > 0; i--) {
        double uniform = CounterRandom.uniform(seed, stream, epoch, 0, i);
        int other = (int) (uniform * (i + 1));
        int held = order[i];
        order[i] = order[other];
        order[other] = held;
      }
    }
    return order;
  }
}
