package org.rlhf4j.ppo;

import org.rlhf4j.ppo.rollout.Spread;

/** Scaling of a roll-out's rewards or advantages to unit variance. */
public final class Whitening {
  private static final double STABILISER = 1e-8;

  private Whitening() {}

  /**
   * {@code (x - mean) / sqrt(variance + 1e-8)} over all tokens of all rows, the variance with
   * divisor n - 1, as TRL's {@code masked_whiten}. Rows hold real tokens only, so that no padding
   * enters mean or variance.
   *
   * @param rows one row for each response, of its own length each
   * @param shiftMean false keeps the mean, as is right for rewards
   * @return new rows of the same lengths
   * @throws IllegalArgumentException of fewer than two tokens, which have no variance
   */
  public static double[][] whiten(double[][] rows, boolean shiftMean) {
    Spread spread = Spread.of(rows);
    if (spread.count() < 2) {
      throw new IllegalArgumentException(
          "%d tokens have no variance; at least 2 are needed".formatted(spread.count()));
    }
    double scale = 1 / Math.sqrt(spread.unbiasedVariance() + STABILISER);
    return scaled(rows, spread.mean(), scale, shiftMean ? 0 : spread.mean());
  }

  /**
   * {@code (x - mean) / sqrt(max(variance, 1e-8))} over all tokens of all rows, the variance with
   * divisor n, as OpenRLHF normalises the advantages of REINFORCE++ (Hu 2025).
   *
   * @param rows one row for each response, of its own length each; at least one token
   * @return new rows of the same lengths
   */
  public static double[][] normalize(double[][] rows) {
    Spread spread = Spread.of(rows);
    double scale = 1 / Math.sqrt(Math.max(spread.biasedVariance(), STABILISER));
    return scaled(rows, spread.mean(), scale, 0);
  }

  private static double[][] scaled(double[][] rows, double mean, double scale, double newMean) {
    double[][] scaled = new double[rows.length][];
    for (int row = 0; row < rows.length; row++) {
      scaled[row] = new double[rows[row].length];
      for (int t = 0; t < rows[row].length; t++) {
        scaled[row][t] = (rows[row][t] - mean) * scale + newMean;
      }
    }
    return scaled;
  }
}
