package org.rlhf4j.ppo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.train.BatchPlan;

/** Which samples of a roll-out PPO learns from in which step. */
record UpdatePlan(PpoConfig config) {

  /** The epochs of a roll-out over its samples, each roll-out in orders of its own. */
  BatchPlan passes(int samples, int rollout) {
    TrainingConfig training = config.training();
    long order = CounterRandom.bits(training.seed(), RandomStream.DATA_ORDER, rollout, 1, 0);
    return BatchPlan.of(
        samples,
        new BatchPlan.Size(
            config.microBatchSize(), config.update().miniBatchSize() / config.microBatchSize()),
        config.update().numPpoEpochs(),
        -1,
        new BatchPlan.Order(order, training.shuffleDataset()));
  }

  /**
   * The samples of a step.
   *
   * @param samples of the roll-out
   * @param passes over them
   * @param step on the roll-out, from 0
   * @return places in the roll-out, micro-batch by micro-batch
   */
  List<int[]> microBatches(List<Experience> samples, BatchPlan passes, long step) {
    if (config.trlxCompat().repeatsMiniBatches()) {
      return passes.microBatches(step / config.update().numPpoEpochs());
    }
    List<int[]> microBatches = passes.microBatches(step);
    return config.trlxCompat() == TrlxCompat.NONE ? byLength(samples, microBatches) : microBatches;
  }

  /** Whether trlX moves the weight of the KL penalty after so many steps on a roll-out. */
  boolean movesController(BatchPlan passes, long steps) {
    long every =
        config.trlxCompat().repeatsMiniBatches()
            ? config.update().numPpoEpochs()
            : passes.stepsPerEpoch();
    return steps % every == 0;
  }

  /** The samples of a step, rows of similar length side by side. */
  private static List<int[]> byLength(List<Experience> samples, List<int[]> microBatches) {
    List<Integer> places = new ArrayList<>();
    microBatches.forEach(batch -> Arrays.stream(batch).forEach(places::add));
    places.sort(Comparator.comparingInt(place -> samples.get(place).row().length()));
    List<int[]> sorted = new ArrayList<>();
    int from = 0;
    for (int[] batch : microBatches) {
      sorted.add(
          places.subList(from, from + batch.length).stream().mapToInt(Integer::intValue).toArray());
      from += batch.length;
    }
    return sorted;
  }
}
