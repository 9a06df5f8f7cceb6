package org.rlhf4j.reward;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Expected numbers: appendix A.6 of the algorithms specification, limits, and differences. */
class RewardLossTest {

  private static double loss(double chosen, double rejected, double margin, double coefficient) {
    return RewardLoss.meanOverPairs(coefficient)
        .of(new float[] {(float) chosen}, new float[] {(float) rejected}, new double[] {margin}, 1)
        .loss();
  }

  @Test
  void bradleyTerryWithAndWithoutMarginAndCentring() {
    assertEquals(0.263282, RewardLoss.bradleyTerry(0.9, -0.3, 0), 1e-6);
    assertEquals(0.403186, RewardLoss.bradleyTerry(0.9, -0.3, 0.5), 1e-6);
    assertEquals(0.0036, 0.01 * RewardLoss.centering(0.9, -0.3), 1e-12);
    assertEquals(0.263282, loss(0.9, -0.3, 0, 0), 1e-6);
    assertEquals(0.403186, loss(0.9, -0.3, 0.5, 0), 1e-6);
    assertEquals(0.403186 + 0.0036, loss(0.9, -0.3, 0.5, 0.01), 1e-6);
  }

  @Test
  void otherUsesOfTheSameTerm() {
    double[] chosen = {0.1, 0.2, 0.5, 0.9, 0.4};
    double[] rejected = {0.1, 0.2, 0.1, -0.3, 0.6};
    double dense = 0;
    for (int t = 2; t < 5; t++) {
      dense += RewardLoss.bradleyTerry(chosen[t], rejected[t], 0) / 3;
    }
    assertEquals(0.524812, dense, 1e-6);
    double ranked =
        RewardLoss.bradleyTerry(2, 0.5, 0)
            + RewardLoss.bradleyTerry(2, -1, 0)
            + RewardLoss.bradleyTerry(0.5, -1, 0);
    assertEquals(0.150471, ranked / 3, 1e-6);
  }

  @ParameterizedTest
  @CsvSource({
    "0.9, -0.3, 0, 0",
    "0.9, -0.3, 0.5, 0.01",
    "-2, 3, 0.25, 0.5",
    "0, 0, 0, 0",
    "12, -9, 1, 0.1",
  })
  void derivativesAreDifferences(double c, double r, double margin, double coefficient) {
    double h = 1e-5;
    double byChosen =
        (value(c + h, r, margin, coefficient) - value(c - h, r, margin, coefficient)) / (2 * h);
    double byRejected =
        (value(c, r + h, margin, coefficient) - value(c, r - h, margin, coefficient)) / (2 * h);
    PairLoss.Result found =
        RewardLoss.meanOverPairs(coefficient)
            .of(new float[] {(float) c}, new float[] {(float) r}, new double[] {margin}, 1);
    assertEquals(byChosen, found.ofChosen()[0], 1e-6);
    assertEquals(byRejected, found.ofRejected()[0], 1e-6);
  }

  /** The definition, in doubles. */
  private static double value(double c, double r, double margin, double coefficient) {
    return Math.log(1 + Math.exp(-(c - r - margin))) + coefficient * (c + r) * (c + r);
  }

  @Test
  void differencesOfAnySizeAreFinite() {
    assertEquals(20_000, RewardLoss.bradleyTerry(-1e4, 1e4, 0), 1e-9);
    assertEquals(0, RewardLoss.bradleyTerry(1e4, -1e4, 0), 0);
    assertEquals(Math.exp(-40), RewardLoss.bradleyTerry(20, -20, 0), 1e-30);
    assertEquals(-1, RewardLoss.bradleyTerrySlope(-1e4, 1e4, 0), 0);
    assertEquals(0, RewardLoss.bradleyTerrySlope(1e4, -1e4, 0), 0);
    assertEquals(-Math.exp(-40), RewardLoss.bradleyTerrySlope(20, -20, 0), 1e-30);
  }

  @Test
  void everyPairOfAStepCountsTheSame() {
    float[] chosen = {1, 2, 0, -1, 0.5f};
    float[] rejected = {0, 3, 0, -2, 1};
    double[] margins = {0, 0.1, 0.2, 0, 1};
    PairLoss loss = RewardLoss.meanOverPairs(0.05);
    PairLoss.Result whole = loss.of(chosen, rejected, margins, 5);
    double byHand = 0;
    for (int i = 0; i < 5; i++) {
      byHand += value(chosen[i], rejected[i], margins[i], 0.05) / 5;
    }
    assertEquals(byHand, whole.loss(), 1e-12);
    double sum = 0;
    for (int[] part : new int[][] {{0, 3}, {3, 5}}) {
      PairLoss.Result share =
          loss.of(
              Arrays.copyOfRange(chosen, part[0], part[1]),
              Arrays.copyOfRange(rejected, part[0], part[1]),
              Arrays.copyOfRange(margins, part[0], part[1]),
              5);
      sum += share.loss();
      for (int i = part[0]; i < part[1]; i++) {
        assertEquals(whole.ofChosen()[i], share.ofChosen()[i - part[0]]);
        assertEquals(whole.ofRejected()[i], share.ofRejected()[i - part[0]]);
      }
    }
    assertEquals(whole.loss(), sum, 1e-12);
  }
}
