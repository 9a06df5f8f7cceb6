package org.rlhf4j.ppo;

import java.util.LinkedHashMap;
import java.util.Map;
import org.rlhf4j.ppo.rollout.Spread;

/**
 * Scaling of scores over a run. Immutable; {@link #values()} is what a checkpoint keeps.
 *
 * @param scale what scores are divided by
 * @param moments of all scores so far
 * @param reference standard deviation of the first roll-out whose scores differ; NaN before it
 */
public record ScoreScaling(ScoreScale scale, RunningMoments moments, double reference) {
  private static final String MEAN = "score_mean";
  private static final String VARIANCE = "score_variance";
  private static final String COUNT = "score_count";
  private static final String REFERENCE = "first_score_deviation";

  /** Before the first roll-out. */
  public static ScoreScaling start(ScoreScale scale) {
    return new ScoreScaling(scale, RunningMoments.start(), Double.NaN);
  }

  /** As {@link #values()} of an earlier one tells. */
  public static ScoreScaling of(ScoreScale scale, Map<String, Object> values) {
    RunningMoments moments =
        new RunningMoments(
            ((Number) values.get(MEAN)).doubleValue(),
            ((Number) values.get(VARIANCE)).doubleValue(),
            ((Number) values.get(COUNT)).longValue());
    Object reference = values.get(REFERENCE);
    return new ScoreScaling(
        scale, moments, reference == null ? Double.NaN : ((Number) reference).doubleValue());
  }

  /** Its state, for a checkpoint. */
  public Map<String, Object> values() {
    Map<String, Object> values = new LinkedHashMap<>();
    values.put(MEAN, moments.mean());
    values.put(VARIANCE, moments.variance());
    values.put(COUNT, moments.count());
    values.put(REFERENCE, Double.isNaN(reference) ? null : reference);
    return values;
  }

  /**
   * With a roll-out's scores known.
   *
   * @param scores {@code [samples]}, before scaling
   */
  public ScoreScaling with(double[] scores) {
    double deviation = Spread.of(scores).unbiasedDeviation();
    // Scores that are all alike tell no scale: the next roll-out has to.
    double first = Double.isNaN(reference) && deviation > 0 ? deviation : reference;
    return new ScoreScaling(scale, moments.with(scores), first);
  }

  /**
   * What to divide scores by: 1 also where the scores known so far do not differ from each other,
   * and so have no scale.
   */
  public double divisor() {
    double deviation =
        switch (scale) {
          case NONE -> 1;
          case RUNNING -> moments.deviation();
          case REF -> reference;
        };
    return deviation > 0 ? deviation : 1;
  }
}
