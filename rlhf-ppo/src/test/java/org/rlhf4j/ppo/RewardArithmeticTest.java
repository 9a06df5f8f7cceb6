package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.ppo.rollout.KlEstimator;
import org.rlhf4j.ppo.rollout.RewardShaping;

class RewardArithmeticTest {
  @ParameterizedTest
  @CsvSource({
    // log(.5) - log(.25) = log 2
    "K1, -.693147180559945, -1.386294361119891, .693147180559945",
    "K2, -.693147180559945, -1.386294361119891, .240226506959101",
    "K3, -.693147180559945, -1.386294361119891, .193147180559945",
    "K1, -1, -.5, -.5",
    "K2, -1, -.5, .125",
    "K3, -1, -.5, .148721270700128",
  })
  void klOfOneToken(KlEstimator estimator, double logProb, double reference, double expected) {
    assertEquals(expected, estimator.of(logProb, reference), 1e-14);
  }

  @Test
  void meansOverThePolicysTokensAreTheDivergence() {
    double[] policy = {0.5, 0.3, 0.2};
    double[] reference = {0.4, 0.25, 0.35};
    double truth = 0;
    double k1 = 0;
    double k3 = 0;
    for (int i = 0; i < 3; i++) {
      double p = Math.log(policy[i]);
      double q = Math.log(reference[i]);
      truth += policy[i] * Math.log(policy[i] / reference[i]);
      k1 += policy[i] * KlEstimator.K1.of(p, q);
      k3 += policy[i] * KlEstimator.K3.of(p, q);
    }
    assertEquals(truth, k1, 1e-15);
    assertEquals(truth, k3, 1e-15);
  }

  @Test
  void scoreAndPenaltyOfEachToken() {
    double[] logProbs = {-1, -0.5, -2};
    double[] reference = {-1.2, -0.9, -1};
    double[] kl = KlEstimator.K1.of(logProbs, reference);
    Numbers.assertClose(Numbers.parsed(".2 .4 -1"), kl, 1e-12);
    Numbers.assertClose(
        Numbers.parsed("-.02 -.04 1.6"), RewardShaping.rewards(kl, 0.1, 1.5), 1e-12);
    Numbers.assertClose(
        Numbers.parsed(".98 1.96 3.1"),
        RewardShaping.rewards(kl, 0.1, Numbers.parsed("1 2 3")),
        1e-12);
    assertThrows(
        IllegalArgumentException.class, () -> RewardShaping.rewards(kl, 0.1, new double[2]));
    assertThrows(
        IllegalArgumentException.class, () -> RewardShaping.rewards(new double[0], 0.1, 1));
    assertThrows(IllegalArgumentException.class, () -> KlEstimator.K1.of(logProbs, new double[2]));
  }

  @ParameterizedTest
  @CsvSource({"3, true, 4, 1.6", "3, false, 4, -.9", "-3, true, 0, -2", "1, true, 1, .9"})
  void clippingThenPenalties(double score, boolean complete, int tokens, double expected) {
    RewardShaping shaping = new RewardShaping(2, 2.5, 0.1);
    assertEquals(expected, shaping.score(score, complete, tokens), 1e-12);
  }

  @Test
  void withoutClippingOrPenaltiesAScoreIsItself() {
    RewardShaping shaping = new RewardShaping(Double.POSITIVE_INFINITY, 0, 0);
    assertEquals(-1e9, shaping.score(-1e9, false, 1000));
    assertThrows(IllegalArgumentException.class, () -> new RewardShaping(0, 0, 0));
  }

  @Test
  void scalingByTheRunningAndByTheFirstDeviation() {
    double[] first = {1, 2, 3, 4};
    double[] second = {0, 10};
    ScoreScaling running = ScoreScaling.start(ScoreScale.RUNNING).with(first);
    assertEquals(1.290994, running.divisor(), 1e-6);
    assertEquals(3.559026, running.with(second).divisor(), 1e-6);
    ScoreScaling reference = ScoreScaling.start(ScoreScale.REF).with(first).with(second);
    assertEquals(1.290994, reference.divisor(), 1e-6);
    assertEquals(1, ScoreScaling.start(ScoreScale.NONE).with(first).divisor());
  }

  @Test
  void scoresWithoutSpreadAreNotScaled() {
    for (ScoreScale scale : ScoreScale.values()) {
      assertEquals(1, ScoreScaling.start(scale).divisor());
      assertEquals(1, ScoreScaling.start(scale).with(new double[] {7}).divisor());
      assertEquals(1, ScoreScaling.start(scale).with(new double[] {7, 7, 7}).divisor());
      ScoreScaling later = ScoreScaling.start(scale).with(new double[] {7});
      assertTrue(Double.isFinite(later.with(new double[] {1, 2}).divisor()));
    }
  }

  @Test
  void scalingGoesOnFromItsState() {
    for (ScoreScale scale : ScoreScale.values()) {
      ScoreScaling fresh = ScoreScaling.start(scale);
      assertEquals(fresh, ScoreScaling.of(scale, fresh.values()));
      ScoreScaling used = fresh.with(new double[] {1, 5, -2}).with(new double[] {.1});
      assertEquals(used, ScoreScaling.of(scale, used.values()));
    }
  }

  @Test
  void runningMomentsAreThoseOfAllScoresTogether() {
    Random random = new Random(1);
    RunningMoments moments = RunningMoments.start();
    double[] all = new double[0];
    for (int batch = 1; batch < 6; batch++) {
      double[] scores = Numbers.random(random, batch, 100);
      moments = moments.with(scores);
      all = Numbers.flat(new double[][] {all, scores});
    }
    double mean = 0;
    for (double x : all) {
      mean += x / all.length;
    }
    double variance = 0;
    for (double x : all) {
      variance += (x - mean) * (x - mean) / (all.length - 1);
    }
    assertEquals(mean, moments.mean(), 1e-12);
    assertEquals(Math.sqrt(variance), moments.deviation(), 1e-10);
    assertSame(moments, moments.with(new double[0]));
  }

  @Test
  void appendixA1AdvantagesAndMaskedWhitening() {
    double[][] values = {{.10, .20, .30, .40}, {.50, -.10}};
    double[][] rewards = {{0, -.02, .01, 1}, {.03, -.50}};
    double[][] expected = {{.7897, .726, .68, .6}, {-.95, -.4}};
    double[][] expectedReturns = {{.8897, .926, .98, 1.0}, {-.45, -.5}};
    double[][] advantages = new double[2][];
    for (int row = 0; row < 2; row++) {
      Advantages.Estimate estimate = Advantages.gae(rewards[row], values[row], 1, 0.95);
      Numbers.assertClose(expected[row], estimate.advantages(), 1e-12);
      Numbers.assertClose(expectedReturns[row], estimate.returns(), 1e-12);
      advantages[row] = estimate.advantages();
    }
    double[][] whitened = Whitening.whiten(advantages, true);
    Numbers.assertClose(
        Numbers.parsed(".748522 .661632 .598886 .489762 -1.624515 -.874288"),
        Numbers.flat(whitened),
        1e-6);
    assertEquals(4, whitened[0].length);
    assertNotSame(advantages[0], whitened[0]);
  }

  /** The definition: a sum over all later errors, weighted by (γλ)^distance. */
  @Test
  void advantagesAreTheWeightedSumOfLaterErrors() {
    double[] rewards = {1, -2, 0.5, 3};
    double[] values = {0.3, 0.1, -0.4, 2};
    double gamma = 0.9;
    double lambda = 0.6;
    double[] expected = new double[4];
    for (int t = 0; t < 4; t++) {
      for (int s = t; s < 4; s++) {
        double next = s == 3 ? 0 : values[s + 1];
        expected[t] += Math.pow(gamma * lambda, s - t) * (rewards[s] + gamma * next - values[s]);
      }
    }
    Advantages.Estimate estimate = Advantages.gae(rewards, values, gamma, lambda);
    Numbers.assertClose(expected, estimate.advantages(), 1e-12);
    for (int t = 0; t < 4; t++) {
      assertEquals(expected[t] + values[t], estimate.returns()[t], 1e-12);
    }
    assertEquals(0, Advantages.gae(new double[0], new double[0], 1, 1).returns().length);
    assertThrows(
        IllegalArgumentException.class, () -> Advantages.gae(rewards, new double[3], 1, 1));
  }

  @Test
  void whiteningKeepsTheMeanIfAsked() {
    double[][] rows = {{1, 2}, {6}};
    // mean 3, unbiased variance 7
    double scale = 1 / Math.sqrt(7 + 1e-8);
    double[] kept = {3 - 2 * scale, 3 - scale, 3 + 3 * scale};
    Numbers.assertClose(kept, Numbers.flat(Whitening.whiten(rows, false)), 1e-14);
    double[] shifted = {-2 * scale, -scale, 3 * scale};
    Numbers.assertClose(shifted, Numbers.flat(Whitening.whiten(rows, true)), 1e-14);
    assertArrayEquals(new double[] {1, 2}, rows[0]);
  }

  @Test
  void whiteningNeedsTwoTokens() {
    assertThrows(
        IllegalArgumentException.class, () -> Whitening.whiten(new double[][] {{}, {1}}, true));
    double[][] equal = Whitening.whiten(new double[][] {{2, 2}, {2}}, true);
    assertArrayEquals(new double[3], Numbers.flat(equal));
  }

  @Test
  void appendixA4AdaptiveKl() {
    KlController controller = KlController.adaptive(0.05, 6, 10000);
    controller.update(9, 32);
    assertEquals(.050032, controller.coefficient(), 1e-12);
    KlController lower = KlController.adaptive(0.05, 6, 10000);
    lower.update(5.4, 32);
    assertEquals(.049984, lower.coefficient(), 1e-12);
    assertThrows(IllegalArgumentException.class, () -> KlController.adaptive(0.05, 0, 10000));
    assertThrows(IllegalArgumentException.class, () -> KlController.adaptive(0.05, 6, 0));
  }
}
