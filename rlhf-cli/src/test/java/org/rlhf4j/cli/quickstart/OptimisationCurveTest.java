package org.rlhf4j.cli.quickstart;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class OptimisationCurveTest {
  /** A run at 0, 4 and 9 nats; raw rewards are the gains. */
  private static List<OptimisationCurve.Point> run(double[] proxy, double[] gold) {
    List<OptimisationCurve.Point> points = new ArrayList<>();
    for (int i = 0; i < proxy.length; i++) {
      double kl = new double[] {0, 4, 9}[i];
      points.add(
          new OptimisationCurve.Point(
              i, kl, proxy[i], gold[i], new OptimisationCurve.Gains(proxy[i], gold[i])));
    }
    return points;
  }

  private static final OptimisationCurve OVER =
      new OptimisationCurve(
          "PPO",
          List.of(
              run(new double[] {0, 1, 2}, new double[] {0, 1.1, 0.5}),
              run(new double[] {0, 1, 3}, new double[] {0, 0.9, 0.4})));

  private static final OptimisationCurve RISING =
      new OptimisationCurve(
          "RAFT",
          List.of(
              run(new double[] {0, 1, 2}, new double[] {0, 0.5, 1.5}),
              run(new double[] {0, 1, 3}, new double[] {0, 0.7, 1.3})));

  @Test
  void meansAreOverTheSeeds() {
    assertEquals(2.5, OVER.proxyGain(2), 1e-12);
    assertEquals(0.45, OVER.goldGain(2), 1e-12);
    assertEquals(3, OVER.rootKl(2), 1e-12);
    assertEquals(1, OVER.peak());
    assertEquals(2, RISING.peak());
  }

  /** Falls of 0.6 and 0.5: mean 0.55, standard deviation 0.0707, over the root of two 0.05. */
  @Test
  void aFallIsHeldToItsStandardError() {
    assertEquals(0.55, OVER.fall().mean(), 1e-12);
    assertEquals(0.05, OVER.fall().standardError(), 1e-12);
    assertTrue(OVER.isOverOptimised());
    assertFalse(RISING.isOverOptimised());
  }

  /** The first run's highest point is chance: the other run does not choose it. */
  @Test
  void aPeakOfOneSeedIsNone() {
    OptimisationCurve chance =
        new OptimisationCurve(
            "PPO",
            List.of(
                run(new double[] {0, 1, 2}, new double[] {0, 3, 1}),
                run(new double[] {0, 1, 2}, new double[] {0, 0.8, 1})));
    assertEquals(1, chance.peak());
    // 1 - 1 and 0.8 - 1
    assertEquals(-0.1, chance.fall().mean(), 1e-12);
    assertFalse(chance.isOverOptimised());
  }

  /** A proxy that falls with gold is not over-optimised. */
  @Test
  void theProxyMustGoOn() {
    OptimisationCurve both =
        new OptimisationCurve(
            "PPO",
            List.of(
                run(new double[] {0, 2, 1}, new double[] {0, 1.1, 0.5}),
                run(new double[] {0, 2, 1}, new double[] {0, 0.9, 0.4})));
    assertTrue(both.fall().isSure());
    assertFalse(both.isOverOptimised());
  }

  @Test
  void theFindingIsTwoSentencesOfNumbers() {
    assertEquals(
        "Over-optimisation: PPO's gold reward peaks at a KL of 4.0 nats with +1.00 and is down to"
            + " +0.45 at 9.0 nats (a fall of 0.55 ± 0.05), while the proxy goes on from +1.00 to"
            + " +2.50; but not of RAFT up to 9.0 nats (gold +1.40, proxy +2.50). The most gold is"
            + " RAFT's at 9.0 nats: +1.40, where the proxy promises +2.50 (gains over SFT in"
            + " standard deviations of its stories, means of 2 seeds).",
        OptimisationCurve.finding(List.of(OVER, RISING)));
    String none = OptimisationCurve.finding(List.of(RISING));
    assertTrue(
        none.startsWith(
            "No over-optimisation was found: RAFT up to 9.0 nats (gold +1.40, proxy +2.50). "),
        none);
  }
}
