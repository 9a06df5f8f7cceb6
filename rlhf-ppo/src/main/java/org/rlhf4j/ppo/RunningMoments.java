package org.rlhf4j.ppo;

import org.rlhf4j.ppo.rollout.Spread;

/**
 * Mean and variance of all scores so far, merged roll-out by roll-out (Chan, Golub and LeVeque
 * 1979), as trlX's class of this name. Immutable; its three numbers are what a checkpoint keeps.
 *
 * @param mean of the scores so far; 0 before the first
 * @param variance with divisor n; 1 before the first
 * @param count scores so far
 */
public record RunningMoments(double mean, double variance, long count) {
  /** Before the first score. */
  public static RunningMoments start() {
    return new RunningMoments(0, 1, 0);
  }

  /**
   * With a roll-out's scores added.
   *
   * @param scores {@code [samples]}
   */
  public RunningMoments with(double[] scores) {
    if (scores.length == 0) {
      return this;
    }
    Spread added = Spread.of(scores);
    long total = count + scores.length;
    double delta = added.mean() - mean;
    double squares =
        variance * count + delta * delta * count * scores.length / total + added.squares();
    return new RunningMoments(mean + delta * scores.length / total, squares / total, total);
  }

  /**
   * Standard deviation with divisor n - 1. It is 1 before the second score: one number has no
   * spread.
   */
  public double deviation() {
    return count < 2 ? 1 : Math.sqrt(variance * count / (count - 1));
  }
}
