package org.rlhf4j.ppo.group;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.ppo.ClipRange;
import org.rlhf4j.ppo.Numbers;
import org.rlhf4j.ppo.Whitening;

class GroupMethodsTest {
  private static final ClipRange CLIP = new ClipRange(0.2, 0.28, Double.POSITIVE_INFINITY);
  private static final double[][] APPENDIX_A8 = {{1, 0, .5, .9}};

  private static double[] ones(int length) {
    double[] ones = new double[length];
    Arrays.fill(ones, 1);
    return ones;
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  @Test
  void appendixA8Advantages() {
    Numbers.assertClose(
        Numbers.parsed(".879689 -1.319534 -.219922 .659767"),
        GroupAdvantages.grpo(APPENDIX_A8, GroupScale.GROUP)[0],
        1e-6);
    Numbers.assertClose(
        Numbers.parsed(".4 -.6 -.1 .3"),
        GroupAdvantages.grpo(APPENDIX_A8, GroupScale.NONE)[0],
        1e-12);
    Numbers.assertClose(
        Numbers.parsed(".533333 -.8 -.133333 .4"),
        GroupAdvantages.leaveOneOut(APPENDIX_A8)[0],
        1e-6);
  }

  @Test
  void scalingByTheBatchUsesTheRewardsOfAllGroups() {
    double[][] rewards = {{0, 2}, {4, 6, 8}};
    // Of 0 2 4 6 8: mean 4, squares 40, unbiased variance 10.
    double divisor = Math.sqrt(10) + 1e-4;
    double[] expected = {-1 / divisor, 1 / divisor, -2 / divisor, 0, 2 / divisor};
    double[][] found = GroupAdvantages.grpo(rewards, GroupScale.BATCH);
    Numbers.assertClose(expected, Numbers.flat(found), 1e-12);
    assertEquals(2, found[0].length);
    double byGroup = Math.sqrt(2) + 1e-4;
    Numbers.assertClose(
        new double[] {-1 / byGroup, 1 / byGroup, -2 / 2.0001, 0, 2 / 2.0001},
        Numbers.flat(GroupAdvantages.grpo(rewards, GroupScale.GROUP)),
        1e-12);
    Numbers.assertClose(
        new double[] {-4 / divisor, -2 / divisor, 0, 2 / divisor, 4 / divisor},
        Numbers.flat(GroupAdvantages.normalized(rewards)),
        1e-12);
  }

  @Test
  void leavingOneOutComparesWithTheOthersOnly() {
    Random random = new Random(3);
    double[][] rewards = {Numbers.random(random, 5, 2), Numbers.random(random, 2, 2)};
    double[][] found = GroupAdvantages.leaveOneOut(rewards);
    for (int prompt = 0; prompt < 2; prompt++) {
      for (int i = 0; i < rewards[prompt].length; i++) {
        double others = 0;
        for (int j = 0; j < rewards[prompt].length; j++) {
          others += j == i ? 0 : rewards[prompt][j];
        }
        double baseline = others / (rewards[prompt].length - 1);
        assertEquals(rewards[prompt][i] - baseline, found[prompt][i], 1e-12);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(GroupScale.class)
  void equalRewardsTeachNothing(GroupScale scale) {
    double[][] rewards = {{3, 3, 3}, {3, 3, 3}};
    assertArrayEquals(new double[6], Numbers.flat(GroupAdvantages.grpo(rewards, scale)));
    assertArrayEquals(new double[6], Numbers.flat(GroupAdvantages.leaveOneOut(rewards)));
    assertEquals(2, GroupAdvantages.groupsWithoutSpread(rewards));
    assertEquals(0, GroupAdvantages.groupsWithoutSpread(APPENDIX_A8));
    // The mean of six numbers that all are 0.1 is not 0.1.
    double[] six = new double[6];
    Arrays.fill(six, 0.1);
    assertEquals(1, GroupAdvantages.groupsWithoutSpread(new double[][] {six}));
  }

  @Test
  void aGroupOfOneIsRefused() {
    double[][] rewards = {{1, 2}, {1}};
    assertThrows(
        IllegalArgumentException.class, () -> GroupAdvantages.grpo(rewards, GroupScale.NONE));
    assertThrows(IllegalArgumentException.class, () -> GroupAdvantages.leaveOneOut(rewards));
  }

  @ParameterizedTest
  @CsvSource({"GRPO, .566667", "BNPO, .35", "DAPO, .35", "DR_GRPO, .0875"})
  void appendixA8Aggregation(GroupLossType type, double expected) {
    double[] losses = {.5, -.2, .1, 1};
    GroupLossType.Batch batch = new GroupLossType.Batch(2, 4, 8);
    assertEquals(
        expected,
        dot(losses, type.weights(new int[] {3, 1}, new GroupLossType.Part(2, 4), batch)),
        1e-6);
  }

  /** Two parts of a batch: by TRL each part counts by its share of the responses in BNPO. */
  @ParameterizedTest
  @EnumSource(GroupLossType.class)
  void aggregationOfParts(GroupLossType type) {
    GroupLossType.Batch batch = new GroupLossType.Batch(3, 6, 8);
    double first =
        dot(
            new double[] {.5, -.2, .1},
            type.weights(new int[] {3}, new GroupLossType.Part(1, 3), batch));
    double[] losses = {1, 2, .2};
    double second =
        dot(losses, type.weights(new int[] {1, 2}, new GroupLossType.Part(2, 3), batch));
    double byHand =
        switch (type) {
          case GRPO -> (.4 / 3 + 1 + 1.1) / 3;
          case BNPO -> (1 * .4 / 3 + 2 * 3.2 / 3) / 3;
          case DR_GRPO -> 3.6 / 24;
          case DAPO -> 3.6 / 6;
        };
    assertEquals(byHand, first + second, 1e-12);
  }

  /** All four numbers by hand: ρ = 2 and A = 1 is clipped at 1.28; d = .5 for the KL. */
  @Test
  void grpoLossOfOneToken() {
    double[] logProbs = {Math.log(.5)};
    double[] old = {Math.log(.25)};
    double[] reference = {Math.log(.5) + .5};
    GroupLoss.Settings settings = GroupLoss.Settings.grpo(CLIP, .1);
    GroupLoss.Loss loss =
        GroupLoss.of(logProbs, old, reference, ones(1), new double[] {.5}, settings);
    double kl = Math.exp(.5) - .5 - 1;
    assertEquals(.5 * (-1.28 + .1 * kl), loss.loss(), 1e-12);
    assertEquals(.5 * .1 * (1 - Math.exp(.5)), loss.derivative()[0], 1e-12);
    assertEquals(kl, loss.tokens().referenceKl(), 1e-12);
    assertEquals(0, loss.tokens().clippedLow());
    assertEquals(1, loss.tokens().clippedHigh());
    assertEquals(2, loss.tokens().ratios(), 1e-12);
    double[] minusOne = {-1};
    GroupLoss.Loss falling =
        GroupLoss.of(old, logProbs, null, minusOne, ones(1), GroupLoss.Settings.grpo(CLIP, 0));
    assertEquals(.8, falling.loss(), 1e-12);
    assertEquals(0, falling.derivative()[0]);
    assertEquals(1, falling.tokens().clippedLow());
    assertEquals(0, falling.tokens().clippedHigh());
    assertEquals(0, falling.tokens().referenceKl());
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3})
  void groupLossDerivativeIsTheSlope(long seed) {
    Random random = new Random(seed);
    double[] logProbs = Numbers.random(random, 50, 1);
    double[] old = Numbers.random(random, 50, 1);
    double[] reference = Numbers.random(random, 50, 2);
    double[] advantages = Numbers.random(random, 50, 2);
    double[] weights = Numbers.random(random, 50, 1);
    weights[4] = 0;
    ClipRange dual = new ClipRange(.2, .28, 2);
    for (GroupLoss.Settings settings :
        new GroupLoss.Settings[] {
          GroupLoss.Settings.grpo(CLIP, .3),
          GroupLoss.Settings.grpo(dual, 0),
          new GroupLoss.Settings(CLIP, .3, .5)
        }) {
      double[] slopes =
          Numbers.slopes(
              logProbs,
              at -> GroupLoss.of(at, old, reference, advantages, weights, settings).loss());
      Numbers.assertClose(
          slopes,
          GroupLoss.of(logProbs, old, reference, advantages, weights, settings).derivative(),
          1e-7);
    }
  }

  @Test
  void theLogarithmOfARatioIsBounded() {
    double[] logProbs = {0, -50};
    double[] old = {-50, 0};
    double[] advantages = {-1, 1};
    GroupLoss.Loss loss =
        GroupLoss.of(
            logProbs,
            old,
            null,
            advantages,
            ones(2),
            GroupLoss.Settings.reinforcePlusPlus(ClipRange.of(.2)));
    assertEquals(Math.exp(20) - Math.exp(-20), loss.loss(), 1e-3);
    assertArrayEquals(new double[2], loss.derivative());
    assertEquals(Math.exp(20) + Math.exp(-20), loss.tokens().ratios(), 1e-3);
  }

  @Test
  void tokensWithoutWeightChangeNothing() {
    Random random = new Random(5);
    double[] weights = {.5, 0, .25};
    double[][] inputs = new double[4][];
    for (int i = 0; i < 4; i++) {
      inputs[i] = Numbers.random(random, 3, 1);
    }
    GroupLoss.Settings settings = GroupLoss.Settings.grpo(CLIP, .1);
    GroupLoss.Loss loss =
        GroupLoss.of(inputs[0], inputs[1], inputs[2], inputs[3], weights, settings);
    for (double[] input : inputs) {
      input[1] = Double.NaN;
    }
    GroupLoss.Loss again =
        GroupLoss.of(inputs[0], inputs[1], inputs[2], inputs[3], weights, settings);
    assertEquals(loss.loss(), again.loss());
    assertEquals(loss.tokens(), again.tokens());
    assertArrayEquals(loss.derivative(), again.derivative());
  }

  @Test
  void rlooRewardAndLoss() {
    double[] logProbs = {-1, -2, -.5};
    double[] old = {-1.1, -2.05, -1};
    assertEquals(2 - .05 * (.1 + .05 + .5), RlooLoss.reward(2, .05, .1 + .05 + .5), 1e-12);
    double[] advantages = {1.5, -2};
    RlooLoss.Loss loss =
        RlooLoss.of(logProbs, old, new int[] {2, 1}, advantages, 4, ClipRange.of(.2));
    double first = Math.exp(.15);
    double second = Math.exp(.5);
    assertEquals((-1.5 * first + 2 * second) / 4, loss.loss(), 1e-12);
    double[] derivative = {-1.5 * first / 4, -1.5 * first / 4, 2 * second / 4};
    Numbers.assertClose(derivative, loss.derivative(), 1e-12);
    assertEquals((first + second) / 4, loss.ratios().mean(), 1e-12);
    // Each token's ratio is within the range, the response's is not.
    double[] rising = {-1 + .1, -1.95};
    RlooLoss.Loss clipped =
        RlooLoss.of(rising, new double[] {-1, -2.1}, new int[] {2}, ones(1), 1, ClipRange.of(.2));
    assertEquals(-1.2, clipped.loss(), 1e-12);
    assertArrayEquals(new double[2], clipped.derivative());
    assertEquals(1, clipped.ratios().clippedShare());
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3})
  void rlooDerivativeIsTheSlope(long seed) {
    Random random = new Random(seed);
    int[] lengths = {3, 1, 7, 4, 2, 5, 8, 1};
    int tokens = Arrays.stream(lengths).sum();
    double[] logProbs = Numbers.random(random, tokens, .4);
    double[] old = Numbers.random(random, tokens, .4);
    double[] advantages = Numbers.random(random, lengths.length, 2);
    double[] slopes =
        Numbers.slopes(logProbs, at -> RlooLoss.of(at, old, lengths, advantages, 8, CLIP).loss());
    double[] derivative = RlooLoss.of(logProbs, old, lengths, advantages, 8, CLIP).derivative();
    Numbers.assertClose(slopes, derivative, 1e-7);
    assertTrue(Arrays.stream(derivative).anyMatch(d -> d != 0));
  }

  /** γ = .5, β = .1; returns by hand, then mean and biased variance of all five. */
  @Test
  void reinforcePlusPlusAdvantages() {
    double[][] kl = {{1, -2, 30}, {.5, 0}};
    double[] scores = {4, -12};
    double[][] returns = {{-.1 + .5 * (.2 + .5 * 3), .2 + .5 * 3, 3}, {-.05 - 5, -10}};
    double[] flat = Numbers.flat(returns);
    double mean = Arrays.stream(flat).sum() / 5;
    double variance = Arrays.stream(flat).map(x -> (x - mean) * (x - mean)).sum() / 5;
    double[] expected = Arrays.stream(flat).map(x -> (x - mean) / Math.sqrt(variance)).toArray();
    double[][] found = ReinforcePlusPlus.advantages(kl, scores, .1, .5);
    Numbers.assertClose(expected, Numbers.flat(found), 1e-12);
    assertEquals(3, found[0].length);
  }

  @Test
  void normalisationClampsTheVariance() {
    double[][] rows = {{1, 1}, {1 + 2e-5}};
    double mean = 1 + 2e-5 / 3;
    double[] expected = {(1 - mean) * 1e4, (1 - mean) * 1e4, (1 + 2e-5 - mean) * 1e4};
    Numbers.assertClose(expected, Numbers.flat(Whitening.normalize(rows)), 1e-9);
    assertArrayEquals(new double[1], Whitening.normalize(new double[][] {{7}})[0]);
  }

  @Test
  void refusesWhatDoesNotFit() {
    double[] two = new double[2];
    double[] three = new double[3];
    GroupLoss.Settings settings = GroupLoss.Settings.grpo(CLIP, .1);
    for (int wrong = 1; wrong < 5; wrong++) {
      double[][] inputs = {two, two, two, two, two};
      inputs[wrong] = three;
      assertThrows(
          IllegalArgumentException.class,
          () -> GroupLoss.of(inputs[0], inputs[1], inputs[2], inputs[3], inputs[4], settings));
    }
    assertThrows(
        IllegalArgumentException.class, () -> GroupLoss.of(two, two, null, two, two, settings));
    assertThrows(
        IllegalArgumentException.class,
        () -> RlooLoss.of(two, two, new int[] {1}, new double[1], 1, CLIP));
    assertThrows(
        IllegalArgumentException.class, () -> RlooLoss.of(two, two, new int[] {2}, two, 1, CLIP));
    assertThrows(
        IllegalArgumentException.class,
        () -> RlooLoss.of(two, three, new int[] {2}, new double[1], 1, CLIP));
    assertThrows(
        IllegalArgumentException.class,
        () -> ReinforcePlusPlus.advantages(new double[1][2], two, 1, 1));
  }
}
