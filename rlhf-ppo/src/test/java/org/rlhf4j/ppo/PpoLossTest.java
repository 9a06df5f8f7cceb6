package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PpoLossTest {
  private static final boolean[] ONE = {true};
  private static final ClipRange CLIP = ClipRange.of(0.2);
  private static final ClipRange DUAL = new ClipRange(0.2, 0.3, 3);

  private static PpoLoss.Policy ofRatio(double ratio, double advantage, ClipRange clip) {
    double[] logProbs = {Math.log(ratio) - 1.5};
    return PpoLoss.policy(logProbs, new double[] {-1.5}, new double[] {advantage}, ONE, 1, clip);
  }

  private static PpoLoss.Value ofValue(double value, double old, double target) {
    return PpoLoss.value(
        new double[] {value}, new double[] {old}, new double[] {target}, ONE, 1, 0.2);
  }

  private static boolean[] randomMask(Random random, int length) {
    boolean[] mask = new boolean[length];
    for (int t = 0; t < length; t++) {
      mask[t] = random.nextInt(3) > 0;
    }
    return mask;
  }

  @ParameterizedTest(name = "advantage {0}, ratio {1}")
  @CsvSource({
    // a gain counts up to 1.2, a loss of probability counts wholly
    "2, 1, -2, -2, false",
    "2, 1.19, -2.38, -2.38, false",
    "2, 1.21, -2.4, 0, true",
    "2, .5, -1, -1, false",
    // a negative advantage is the mirror image
    "-2, 1, 2, 2, false",
    "-2, .81, 1.62, 1.62, false",
    "-2, .79, 1.6, 0, true",
    "-2, 5, 10, 10, false",
    "0, 1.5, 0, 0, false",
  })
  void clippedPolicyLoss(
      double advantage, double ratio, double loss, double derivative, boolean clipped) {
    PpoLoss.Policy policy = ofRatio(ratio, advantage, CLIP);
    assertEquals(loss, policy.loss(), 1e-12);
    assertEquals(derivative, policy.derivative()[0], 1e-12);
    assertEquals(clipped ? 1 : 0, policy.ratios().clippedShare());
    assertEquals(ratio, policy.ratios().mean(), 1e-12);
    assertEquals(ratio, policy.ratios().lowest(), 1e-12);
    assertEquals(ratio, policy.ratios().highest(), 1e-12);
    assertEquals(ratio - 1 - Math.log(ratio), policy.ratios().approxKl(), 1e-12);
  }

  @ParameterizedTest(name = "advantage {0}, ratio {1}")
  @CsvSource({
    "-2, 2.9, 5.8, 5.8",
    "-2, 3.1, 6, 0",
    "-2, .79, 1.6, 0",
    "2, 3.1, -2.6, 0",
    "2, 1.29, -2.58, -2.58",
    "2, 1.31, -2.6, 0",
  })
  void dualClipBoundsNegativeAdvantagesOnly(
      double advantage, double ratio, double loss, double derivative) {
    PpoLoss.Policy policy = ofRatio(ratio, advantage, DUAL);
    assertEquals(loss, policy.loss(), 1e-12);
    assertEquals(derivative, policy.derivative()[0], 1e-12);
  }

  @ParameterizedTest(name = "value {0}, old {1}, return {2}")
  @CsvSource({
    "1, 1, 3, 2, -2, false",
    "1.19, 1, 3, 1.63805, -1.81, false",
    // moved too far towards the return: the clipped value is worse and stands still
    "1.21, 1, 3, 1.62, 0, true",
    ".79, 1, -1, 1.62, 0, true",
    // moved too far away from it: pulled back
    ".5, 1, 3, 3.125, -2.5, false",
    "2, 1, .5, 1.125, 1.5, false",
    // beyond the return and back inside the range: the free one is worse
    "1.5, 1, 1.3, .02, .2, false",
  })
  void clippedValueLoss(
      double value, double old, double target, double loss, double derivative, boolean clipped) {
    PpoLoss.Value found = ofValue(value, old, target);
    assertEquals(loss, found.loss(), 1e-12);
    assertEquals(derivative, found.derivative()[0], 1e-12);
    assertEquals(clipped ? 1 : 0, found.clippedShare());
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5})
  void policyDerivativeIsTheSlope(long seed) {
    Random random = new Random(seed);
    double[] logProbs = Numbers.random(random, 60, 2);
    double[] old = Numbers.random(random, 60, 2);
    double[] advantages = Numbers.random(random, 60, 3);
    boolean[] mask = randomMask(random, 60);
    for (ClipRange clip : new ClipRange[] {CLIP, DUAL}) {
      double[] slopes =
          Numbers.slopes(
              logProbs, at -> PpoLoss.policy(at, old, advantages, mask, 17, clip).loss());
      double[] derivative = PpoLoss.policy(logProbs, old, advantages, mask, 17, clip).derivative();
      Numbers.assertClose(slopes, derivative, 1e-7);
      assertTrue(Arrays.stream(derivative).anyMatch(d -> d > 0.01));
      assertTrue(Arrays.stream(derivative).anyMatch(d -> d < -0.01));
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {0.8, 1.2, 1.3, 3})
  void onBothSidesOfEveryEdgeTheDerivativeIsTheSlope(double edge) {
    for (double ratio : new double[] {edge * (1 - 1e-4), edge * (1 + 1e-4)}) {
      for (double advantage : new double[] {1.5, -1.5}) {
        for (ClipRange clip : new ClipRange[] {CLIP, DUAL}) {
          double[] at = {Math.log(ratio)};
          double[] zero = {0};
          double[] advantages = {advantage};
          double[] slopes =
              Numbers.slopes(at, x -> PpoLoss.policy(x, zero, advantages, ONE, 1, clip).loss());
          Numbers.assertClose(
              slopes, PpoLoss.policy(at, zero, advantages, ONE, 1, clip).derivative(), 1e-7);
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3})
  void valueDerivativeIsTheSlope(long seed) {
    Random random = new Random(seed);
    double[] values = Numbers.random(random, 60, 1);
    double[] old = Numbers.random(random, 60, 1);
    double[] returns = Numbers.random(random, 60, 1);
    boolean[] mask = randomMask(random, 60);
    for (double range : new double[] {0.3, Double.POSITIVE_INFINITY}) {
      double[] slopes =
          Numbers.slopes(values, at -> PpoLoss.value(at, old, returns, mask, 13, range).loss());
      PpoLoss.Value found = PpoLoss.value(values, old, returns, mask, 13, range);
      Numbers.assertClose(slopes, found.derivative(), 1e-7);
      assertEquals(Double.isFinite(range), found.clippedShare() > 0);
    }
  }

  @Test
  void whatIsMaskedChangesNothing() {
    Random random = new Random(7);
    boolean[] mask = randomMask(random, 40);
    double[][] inputs = new double[3][];
    for (int i = 0; i < inputs.length; i++) {
      inputs[i] = Numbers.random(random, 40, 1);
    }
    PpoLoss.Policy policy = PpoLoss.policy(inputs[0], inputs[1], inputs[2], mask, 9, CLIP);
    PpoLoss.Value value = PpoLoss.value(inputs[0], inputs[1], inputs[2], mask, 9, 0.2);
    for (int t = 0; t < mask.length; t++) {
      if (!mask[t]) {
        assertEquals(0, policy.derivative()[t]);
        assertEquals(0, value.derivative()[t]);
        for (double[] input : inputs) {
          input[t] = Double.NaN;
        }
      }
    }
    PpoLoss.Policy again = PpoLoss.policy(inputs[0], inputs[1], inputs[2], mask, 9, CLIP);
    assertEquals(policy.loss(), again.loss());
    assertEquals(policy.ratios(), again.ratios());
    assertArrayEquals(policy.derivative(), again.derivative());
    assertEquals(value.loss(), PpoLoss.value(inputs[0], inputs[1], inputs[2], mask, 9, 0.2).loss());
  }

  @Test
  void partsOfAMiniBatchAddUpToTheWhole() {
    Random random = new Random(8);
    int tokens = 50;
    boolean[] mask = randomMask(random, tokens);
    double[] a = Numbers.random(random, tokens, 1);
    double[] b = Numbers.random(random, tokens, 1);
    double[] c = Numbers.random(random, tokens, 1);
    PpoLoss.Policy policy = PpoLoss.policy(a, b, c, mask, 31, CLIP);
    PpoLoss.Value value = PpoLoss.value(a, b, c, mask, 31, 0.2);
    double[] sums = new double[6];
    for (int[] part : new int[][] {{0, 7}, {7, 8}, {8, tokens}}) {
      double[] a1 = Arrays.copyOfRange(a, part[0], part[1]);
      double[] b1 = Arrays.copyOfRange(b, part[0], part[1]);
      double[] c1 = Arrays.copyOfRange(c, part[0], part[1]);
      boolean[] mask1 = Arrays.copyOfRange(mask, part[0], part[1]);
      PpoLoss.Policy policy1 = PpoLoss.policy(a1, b1, c1, mask1, 31, CLIP);
      PpoLoss.Value value1 = PpoLoss.value(a1, b1, c1, mask1, 31, 0.2);
      sums[0] += policy1.loss();
      sums[1] += policy1.ratios().mean();
      sums[2] += policy1.ratios().clippedShare();
      sums[3] += policy1.ratios().approxKl();
      sums[4] += value1.loss();
      sums[5] += value1.clippedShare();
      assertArrayEquals(
          Arrays.copyOfRange(policy.derivative(), part[0], part[1]), policy1.derivative());
      assertArrayEquals(
          Arrays.copyOfRange(value.derivative(), part[0], part[1]), value1.derivative());
    }
    double[] whole = {
      policy.loss(),
      policy.ratios().mean(),
      policy.ratios().clippedShare(),
      policy.ratios().approxKl(),
      value.loss(),
      value.clippedShare()
    };
    Numbers.assertClose(whole, sums, 1e-12);
  }

  @Test
  void refusesWhatDoesNotFit() {
    double[] two = new double[2];
    double[] three = new double[3];
    boolean[] mask = new boolean[2];
    assertThrows(
        IllegalArgumentException.class, () -> PpoLoss.policy(two, three, two, mask, 1, CLIP));
    assertThrows(
        IllegalArgumentException.class, () -> PpoLoss.policy(two, two, three, mask, 1, CLIP));
    assertThrows(
        IllegalArgumentException.class, () -> PpoLoss.policy(three, three, three, mask, 1, CLIP));
    assertThrows(
        IllegalArgumentException.class, () -> PpoLoss.policy(two, two, two, mask, 0, CLIP));
    assertThrows(
        IllegalArgumentException.class, () -> PpoLoss.value(two, three, two, mask, 1, 0.2));
    assertThrows(
        IllegalArgumentException.class, () -> PpoLoss.value(two, two, three, mask, 1, 0.2));
    assertThrows(IllegalArgumentException.class, () -> PpoLoss.value(two, two, two, ONE, 1, 0.2));
    assertThrows(IllegalArgumentException.class, () -> PpoLoss.value(two, two, two, mask, 1, -0.1));
    assertThrows(IllegalArgumentException.class, () -> ClipRange.of(-0.1));
    assertThrows(IllegalArgumentException.class, () -> new ClipRange(0.2, 0.2, 1));
  }
}
