package org.rlhf4j.cli.quickstart;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class OptimisationCurveTest {
  private static final double[] PROXY = {0, 1, 2};

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
              run(new double[] {0, 1, 2.4}, new double[] {0, 1.1, 0.5}),
              run(new double[] {0, 1, 2.6}, new double[] {0, 0.9, 0.32})));

  private static final OptimisationCurve RISING =
      new OptimisationCurve(
          "RAFT",
          List.of(
              run(new double[] {0, 1, 2}, new double[] {0, 0.5, 1.404}),
              run(new double[] {0, 1, 3}, new double[] {0, 0.7, 1.196})));

  @Test
  void meansAreOverTheSeeds() {
    assertEquals(2.5, OVER.proxyGain(2), 1e-12);
    assertEquals(0.41, OVER.goldGain(2), 1e-12);
    assertEquals(3, OVER.rootKl(2), 1e-12);
    assertEquals(1, OVER.highest());
    assertEquals(2, RISING.highest());
  }

  /** Falls of 0.6 and 0.58, rises of 1.4 and 1.6: half their difference is the standard error. */
  @Test
  void fallAndRiseAreHeldToTheirErrors() {
    assertEquals(0.59, OVER.fall().mean(), 1e-12);
    assertEquals(0.01, OVER.fall().standardError(), 1e-12);
    assertEquals(1.5, OVER.rise().mean(), 1e-12);
    assertEquals(0.1, OVER.rise().standardError(), 1e-12);
    assertEquals(1, OVER.peak().mean(), 1e-12);
    assertEquals(0.1, OVER.peak().standardError(), 1e-12);
    assertTrue(OVER.isOverOptimised());
    assertFalse(RISING.isOverOptimised());
  }

  /** The difference of 0.30 is 20 standard errors: enough for one pair of two seeds, not three. */
  @Test
  void peaksAreHeldToTheLimitOfAllPairs() {
    OptimisationCurve lower =
        new OptimisationCurve(
            "best-of-n",
            List.of(
                run(PROXY, new double[] {0, 0.5, 1.119}),
                run(PROXY, new double[] {0, 0.7, 0.881})));
    assertEquals(0.3, RISING.lead(lower).mean(), 1e-12);
    assertEquals(0.015, RISING.lead(lower).standardError(), 1e-12);
    assertTrue(
        OptimisationCurve.finding(List.of(lower, RISING))
            .contains("9.0 nats, cannot be told from"));
  }

  /** The first run's highest point is chance: the other run does not choose it. */
  @Test
  void aPeakOfOneSeedIsNone() {
    OptimisationCurve chance =
        new OptimisationCurve(
            "PPO",
            List.of(run(PROXY, new double[] {0, 3, 1}), run(PROXY, new double[] {0, 0.8, 1})));
    assertEquals(1, chance.highest());
    // 1 - 1 and 0.8 - 1
    assertEquals(-0.1, chance.fall().mean(), 1e-12);
    // The second run's 0.8 and the first one's 1, not the 3 and 1 that each would choose.
    assertEquals(0.9, chance.peak().mean(), 1e-12);
    // To another method, where the mean of both is highest: 1.404 - 3 and 1.196 - 0.8.
    assertEquals(-0.6, RISING.lead(chance).mean(), 1e-12);
    assertFalse(chance.isOverOptimised());
    assertStartsWith(
        "No over-optimisation is sure: PPO's gold is highest at a KL of 4.0 nats with +1.90 and"
            + " ends at 9.0 nats with +1.00, no fall that the seeds share (-0.10 ± 0.10), while the"
            + " proxy's rise of 0.50 ± 0.50 is not sure. ",
        chance);
  }

  /** A proxy that falls with gold is not over-optimised. */
  @Test
  void aFallOfBothIsSaid() {
    double[] proxy = {0, 2, 1};
    OptimisationCurve both =
        new OptimisationCurve(
            "PPO",
            List.of(
                run(proxy, new double[] {0, 1.1, 0.5}), run(proxy, new double[] {0, 0.9, 0.32})));
    assertTrue(both.fall().isSurelyPositive());
    assertFalse(both.isOverOptimised());
    assertStartsWith(
        "No over-optimisation is sure: PPO's gold is highest at a KL of 4.0 nats with +1.00 and"
            + " ends at 9.0 nats with +0.41, a fall of 0.59 ± 0.01, while the proxy falls as well,"
            + " by 1.00 ± 0.00. ",
        both);
  }

  /** Means of 0, 1.47 and 0.20; falls of 2.4, 1.1 and 0.3. */
  @Test
  void aCollapseThatIsNotSureIsSaid() {
    OptimisationCurve collapse =
        new OptimisationCurve(
            "PPO",
            List.of(
                run(PROXY, new double[] {0, 2.2, -0.2}),
                run(PROXY, new double[] {0, 1.2, 0.1}),
                run(PROXY, new double[] {0, 1, 0.7})));
    assertFalse(collapse.isOverOptimised());
    assertStartsWith(
        "No over-optimisation is sure: PPO's gold is highest at a KL of 4.0 nats with +1.47 and"
            + " ends at 9.0 nats with +0.20, a fall of 1.27 ± 0.61 that is not sure, while the"
            + " proxy rises by 1.00 ± 0.00. ",
        collapse);
  }

  /** The proxies' rises of 0.1 and 0.5 are 1.5 times their standard error. */
  @Test
  void theProxysRiseIsHeldToItsError() {
    OptimisationCurve unsure =
        new OptimisationCurve(
            "PPO",
            List.of(
                run(new double[] {0, 1, 1.1}, new double[] {0, 1.1, 0.5}),
                run(new double[] {0, 1, 1.5}, new double[] {0, 0.9, 0.32})));
    assertFalse(unsure.isOverOptimised());
    assertStartsWith(
        "No over-optimisation is sure: PPO's gold is highest at a KL of 4.0 nats with +1.00 and"
            + " ends at 9.0 nats with +0.41, a fall of 0.59 ± 0.01, while the proxy's rise of"
            + " 0.30 ± 0.20 is not sure. ",
        unsure);
  }

  private static void assertStartsWith(String expected, OptimisationCurve curve) {
    String finding = OptimisationCurve.finding(List.of(curve));
    assertEquals(expected, finding.substring(0, Math.min(expected.length(), finding.length())));
  }

  /** RAFT's peaks of 1.404 and 1.196 are 0.304 and 0.296 above PPO's, 75 standard errors. */
  @Test
  void theFindingIsTwoSentencesOfNumbers() {
    assertEquals(
        "Over-optimisation: PPO's gold is highest at a KL of 4.0 nats with +1.00 and ends at 9.0"
            + " nats with +0.41, a fall of 0.59 ± 0.01, while the proxy rises by 1.50 ± 0.10; not"
            + " sure of others: RAFT's gold is highest at its end, at 9.0 nats with +1.30, where"
            + " the proxy promises +2.50. The highest peak of gold is RAFT's, +1.30 ± 0.10 at 9.0"
            + " nats, where the proxy promises +2.50; PPO's, +1.00 ± 0.10 at 4.0 nats, is surely"
            + " lower (gains over SFT in standard deviations of its stories; 2 seeds, ± standard"
            + " errors over them, each seed measured at the others' peak; sure: Student's test at"
            + " 5 %, for each method's course by itself; lower: for three pairs of methods together,"
            + " each where the mean of its seeds is highest).",
        OptimisationCurve.finding(List.of(OVER, RISING)));
  }

  /** The first seed's peak is 0.3 above, the second's 0.1 below. */
  @Test
  void peaksThatCannotBeToldApartAreNotRanked() {
    OptimisationCurve like =
        new OptimisationCurve(
            "best-of-n",
            List.of(
                run(PROXY, new double[] {0, 0.5, 1.104}),
                run(PROXY, new double[] {0, 0.7, 1.296})));
    assertEquals(0.1, RISING.lead(like).mean(), 1e-12);
    assertEquals(0.2, RISING.lead(like).standardError(), 1e-12);
    String finding = OptimisationCurve.finding(List.of(like, RISING));
    assertTrue(
        finding.contains(
            "The highest peak of gold is RAFT's, +1.30 ± 0.10 at 9.0 nats, where the proxy promises"
                + " +2.50; best-of-n's, +1.20 ± 0.10 at 9.0 nats, cannot be told from it (gains"),
        finding);
  }

  private static boolean isSurelyHigher(OptimisationCurve one, OptimisationCurve other) {
    return one != other && one.lead(other).isSurelyPositiveOfThree();
  }

  private static OptimisationCurve noise(Random random, int seeds, int points) {
    List<List<OptimisationCurve.Point>> runs = new ArrayList<>();
    for (int run = 0; run < seeds; run++) {
      List<OptimisationCurve.Point> path = new ArrayList<>();
      for (int i = 0; i < points; i++) {
        path.add(
            new OptimisationCurve.Point(
                i, i, i, 0, new OptimisationCurve.Gains(i, random.nextGaussian())));
      }
      runs.add(path);
    }
    return new OptimisationCurve("noise", runs);
  }

  /**
   * Of curves that are flat but for noise, few may seem to fall surely; and of three methods, few
   * times may any seem to have a peak that is surely lower than another's.
   */
  @Test
  void noiseIsSeldomTakenForAFinding() {
    Random random = new Random(5);
    for (int seeds = 2; seeds <= 6; seeds++) {
      int over = 0;
      int lower = 0;
      int trials = 2000;
      for (int trial = 0; trial < trials; trial++) {
        OptimisationCurve first = noise(random, seeds, 9);
        over += first.isOverOptimised() ? 1 : 0;
        List<OptimisationCurve> three =
            List.of(first, noise(random, seeds, 5), noise(random, seeds, 7));
        lower +=
            three.stream().anyMatch(a -> three.stream().anyMatch(b -> isSurelyHigher(a, b)))
                ? 1
                : 0;
      }
      assertTrue(over < 0.06 * trials, over + " of " + trials + " with " + seeds + " seeds");
      assertTrue(lower < 0.05 * trials, lower + " of " + trials + " with " + seeds + " seeds");
    }
  }
}
