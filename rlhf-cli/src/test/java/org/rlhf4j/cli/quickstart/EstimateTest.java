package org.rlhf4j.cli.quickstart;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class EstimateTest {
  /** Standard deviation 1, over the root of three. */
  @Test
  void theErrorIsThatOfTheMean() {
    Estimate estimate = Estimate.of(1, 2, 3);
    assertEquals(2, estimate.mean(), 1e-12);
    assertEquals(0.57735, estimate.standardError(), 1e-5);
    assertEquals("2.00 ± 0.58", estimate.said(2));
    assertEquals("+2.0 ± 0.6", estimate.signed(1));
    assertEquals("-2.00 ± 0.58", estimate.negative().signed(2));
  }

  /** A mean of 1.27 is 2.07 times its error: of three seeds 4.3 are needed. */
  @Test
  void twoStandardErrorsOfThreeSeedsAreTooFew() {
    Estimate estimate = Estimate.of(2.4, 1.1, 0.3);
    assertTrue(estimate.mean() > 2 * estimate.standardError());
    assertFalse(estimate.isSurelyPositive());
    assertFalse(estimate.isSurelyNegative());
  }

  @Test
  void oneInFortyIsOverTheLimit() {
    for (int seeds = 2; seeds <= 21; seeds++) {
      double limit = Estimate.of(new double[seeds]).limit();
      assertEquals(0.025, chanceOver(limit, seeds - 1), 5e-5);
      double ofThree = Estimate.of(new double[seeds]).limitOfThree();
      assertEquals(0.025 / 3, chanceOver(ofThree, seeds - 1), 2e-5);
    }
    assertTrue(chanceOver(Estimate.of(new double[100]).limit(), 99) < 0.025);
    assertTrue(chanceOver(Estimate.of(new double[100]).limitOfThree(), 99) < 0.025 / 3);
  }

  @Test
  void bothSidesAreHeldToTheLimit() {
    assertTrue(new Estimate(3.19, 1, 4).isSurelyPositive());
    assertFalse(new Estimate(3.17, 1, 4).isSurelyPositive());
    assertTrue(new Estimate(-3.19, 1, 4).isSurelyNegative());
    assertFalse(new Estimate(-3.17, 1, 4).isSurelyNegative());
    assertTrue(new Estimate(4.86, 1, 4).isSurelyPositiveOfThree());
    assertFalse(new Estimate(4.85, 1, 4).isSurelyPositiveOfThree());
    assertFalse(Estimate.of(0, 0, 0).isSurelyPositive());
  }

  /** 12.706 standard errors of 0.5 on either side. */
  @Test
  void theIntervalIsStudents() {
    assertEquals("-4.85 to +7.85", Estimate.of(1, 2).interval(2));
  }

  @Test
  void oneSeedHasNoError() {
    assertThrows(IllegalArgumentException.class, () -> Estimate.of(1));
  }

  /** Student's density, {@code (1 + t²/n)^(-(n + 1)/2)}, at {@code t = √n tan(angle)}. */
  private static double chanceOver(double t, int freedom) {
    double angle = Math.atan(t / Math.sqrt(freedom));
    return cosines(angle, Math.PI / 2, freedom - 1) / (2 * cosines(0, Math.PI / 2, freedom - 1));
  }

  private static double cosines(double from, double to, int power) {
    int steps = 20_000;
    double width = (to - from) / steps;
    double sum = 0;
    for (int i = 0; i < steps; i++) {
      sum += Math.pow(Math.cos(from + (i + 0.5) * width), power);
    }
    return sum * width;
  }
}
