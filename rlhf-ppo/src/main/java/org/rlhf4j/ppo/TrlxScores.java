package org.rlhf4j.ppo;

import java.util.Arrays;
import org.rlhf4j.ppo.rollout.Spread;

/**
 * Scores of a chunk, clipped and scaled in trlX's order.
 *
 * @param scores {@code [responses][1]}, or one for each token
 * @param scaling with this chunk's counted
 * @param spread of this chunk's scores as they were counted
 */
record TrlxScores(double[][] scores, ScoreScaling scaling, Spread spread) {
  /**
   * Clips and scales.
   *
   * @param clip scores are held within ±clip; infinite: as they are
   */
  static TrlxScores of(TrlxCompat version, double[][] raw, double clip, ScoreScaling before) {
    double[][] counted = version.clipsFirst() ? changed(raw, clip, 1) : raw;
    double[] sums = Arrays.stream(counted).mapToDouble(row -> Arrays.stream(row).sum()).toArray();
    ScoreScaling after = before.with(sums);
    double last = version.clipsFirst() ? Double.POSITIVE_INFINITY : clip;
    return new TrlxScores(changed(counted, last, after.divisor()), after, Spread.of(sums));
  }

  private static double[][] changed(double[][] scores, double clip, double divisor) {
    double[][] changed = new double[scores.length][];
    for (int i = 0; i < scores.length; i++) {
      changed[i] =
          Arrays.stream(scores[i])
              .map(score -> Math.max(-clip, Math.min(clip, score / divisor)))
              .toArray();
    }
    return changed;
  }
}
