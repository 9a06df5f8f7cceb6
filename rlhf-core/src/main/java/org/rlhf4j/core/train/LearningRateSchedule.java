package org.rlhf4j.core.train;

import org.rlhf4j.core.config.LrSchedulerType;
import org.rlhf4j.core.config.TrainingConfig;

/**
 * The learning rate of each optimizer step, as Hugging Face computes it: step s = 0, 1, … runs with
 * {@code learningRate * factor(s)}, so the first step of a warm-up has rate 0.
 *
 * @param type how the rate falls
 * @param learningRate the peak
 * @param warmupSteps steps of linear rise
 * @param totalSteps the whole run's
 * @param minRate share of the peak that remains, for cosine_with_min_lr
 */
public record LearningRateSchedule(
    LrSchedulerType type, double learningRate, long warmupSteps, long totalSteps, double minRate) {
  private static final long INVERSE_SQRT_TIMESCALE = 10_000;

  /** The schedule of a configuration over a run of that many steps. */
  public static LearningRateSchedule of(TrainingConfig config, long totalSteps) {
    long warmup =
        config.warmupRatio() > 0
            ? (long) Math.ceil(config.warmupRatio() * totalSteps)
            : config.warmupSteps();
    return new LearningRateSchedule(
        config.lrSchedulerType(), config.learningRate(), warmup, totalSteps, config.minLrRate());
  }

  /** The rate of a step, counted from 0. */
  public double at(long step) {
    return learningRate * factor(step);
  }

  private double factor(long step) {
    if (type == LrSchedulerType.CONSTANT) {
      return 1;
    }
    if (step < warmupSteps) {
      return (double) step / Math.max(1, warmupSteps);
    }
    double passed = (double) (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
    double cosine = 0.5 * (1 + Math.cos(Math.PI * passed));
    return switch (type) {
      case CONSTANT, CONSTANT_WITH_WARMUP -> 1;
      case LINEAR -> Math.max(0, 1 - passed);
      case COSINE -> Math.max(0, cosine);
      case COSINE_WITH_MIN_LR -> Math.max(0, cosine * (1 - minRate) + minRate);
      case INVERSE_SQRT -> {
        long timescale = warmupSteps > 0 ? warmupSteps : INVERSE_SQRT_TIMESCALE;
        long shift = timescale - warmupSteps;
        yield 1 / Math.sqrt((double) (step + shift) / timescale);
      }
    };
  }
}
