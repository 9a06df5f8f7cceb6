package org.rlhf4j.cli.quickstart;

import java.util.Arrays;
import java.util.Locale;

/**
 * A mean over seeds, and how far off it may be.
 *
 * @param mean over the seeds
 * @param standardError of the mean, from the spread of the seeds
 * @param seeds at least two
 */
record Estimate(double mean, double standardError, int seeds) {
  /**
   * What one in forty of Student's t exceeds, and as many fall below on the other side, for 1, 2, …
   * degrees of freedom (NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2). Where there
   * are more of them the last one is used, which is too strict.
   */
  private static final double[] STUDENT = {
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086
  };

  /** The same for one in 120: a third of it, for tests of all pairs of three (Bonferroni). */
  private static final double[] STUDENT_OF_THREE = {
    38.188, 7.649, 4.857, 3.961, 3.534, 3.287, 3.128, 3.016, 2.933, 2.870, 2.820, 2.779, 2.746,
    2.718, 2.694, 2.673, 2.655, 2.639, 2.625, 2.613
  };

  /**
   * The mean of one number from each seed.
   *
   * @throws IllegalArgumentException if there are less than two: their spread is unknown
   */
  static Estimate of(double... values) {
    if (values.length < 2) {
      throw new IllegalArgumentException(
          "a standard error needs two seeds, found " + values.length);
    }
    double mean = Arrays.stream(values).average().orElseThrow();
    double squares = Arrays.stream(values).map(value -> (value - mean) * (value - mean)).sum();
    double variance = squares / (values.length - 1);
    return new Estimate(mean, Math.sqrt(variance / values.length), values.length);
  }

  /** How many standard errors a mean has to be away from 0, by Student's test at 5 %. */
  double limit() {
    return STUDENT[Math.min(seeds - 1, STUDENT.length) - 1];
  }

  /** The same where three means are tested, so that 5 % is the chance that any of them passes. */
  double limitOfThree() {
    return STUDENT_OF_THREE[Math.min(seeds - 1, STUDENT_OF_THREE.length) - 1];
  }

  /** Whether it is above 0 by this test. */
  boolean isSurelyPositive() {
    return mean > 0 && mean > limit() * standardError;
  }

  /** Whether it is below 0 by this test. */
  boolean isSurelyNegative() {
    return negative().isSurelyPositive();
  }

  /** Whether it is above 0, as one of three that are tested. */
  boolean isSurelyPositiveOfThree() {
    return mean > 0 && mean > limitOfThree() * standardError;
  }

  Estimate negative() {
    return new Estimate(-mean, standardError, seeds);
  }

  /** {@code 0.55 ± 0.05}. */
  String said(int digits) {
    return number("", mean, digits) + error(digits);
  }

  /** {@code +0.55 ± 0.05}. */
  String signed(int digits) {
    return number("+", mean, digits) + error(digits);
  }

  /** {@code -0.20 to +1.30}: where the true mean is, in 95 of 100 cases. */
  String interval(int digits) {
    double half = limit() * standardError;
    return number("+", mean - half, digits) + " to " + number("+", mean + half, digits);
  }

  private String error(int digits) {
    return " ± " + number("", standardError, digits);
  }

  private static String number(String flags, double value, int digits) {
    return String.format(Locale.ROOT, "%" + flags + "." + digits + "f", value);
  }
}
