package org.rlhf4j.ppo.rollout;

import java.util.Arrays;

/**
 * Mean and spread of numbers. The divisor of a variance is always named: trlX, TRL and OpenRLHF
 * each mix both.
 *
 * @param count how many
 * @param mean NaN of none
 * @param squares sum of the squared distances from the mean
 */
public record Spread(long count, double mean, double squares) {
  /** Of all numbers of some rows together. */
  public static Spread of(double[]... rows) {
    long count = 0;
    double sum = 0;
    for (double[] row : rows) {
      count += row.length;
      sum += Arrays.stream(row).sum();
    }
    double mean = sum / count;
    double squares = 0;
    for (double[] row : rows) {
      for (double x : row) {
        squares += (x - mean) * (x - mean);
      }
    }
    return new Spread(count, mean, squares);
  }

  /** With divisor n. */
  public double biasedVariance() {
    return squares / count;
  }

  /** With divisor n - 1: NaN of one number. */
  public double unbiasedVariance() {
    return squares / (count - 1);
  }

  /** Root of the unbiased variance: NaN of one number. */
  public double unbiasedDeviation() {
    return Math.sqrt(unbiasedVariance());
  }
}
