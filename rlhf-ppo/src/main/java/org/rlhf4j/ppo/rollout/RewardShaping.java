package org.rlhf4j.ppo.rollout;

/**
 * How the score of a response becomes rewards of its tokens. The score is clipped, penalties are
 * taken off, then it is scaled by {@link ScoreScaling}; so no penalty is lost to clipping, and
 * penalties are in units of the reward model.
 *
 * @param clip scores are held within ±clip; infinite: as they are
 * @param missingEosPenalty taken off the score of a response that the length limit cut; 0: nothing
 * @param lengthPenalty taken off the score for each token of the response; 0: nothing
 */
public record RewardShaping(double clip, double missingEosPenalty, double lengthPenalty) {
  /** Checks. */
  public RewardShaping {
    if (!(clip > 0)) {
      throw new IllegalArgumentException("clip " + clip + " must be above 0");
    }
  }

  /**
   * A score after clipping and penalties.
   *
   * @param score as the reward model gave it
   * @param isComplete whether the response ended by itself: by EOS or a stop string
   * @param tokens length of the response
   */
  public double score(double score, boolean isComplete, int tokens) {
    double clipped = Math.max(-clip, Math.min(clip, score));
    return clipped - (isComplete ? 0 : missingEosPenalty) - lengthPenalty * tokens;
  }

  /**
   * Scores of a response's tokens after clipping and penalties, which stand on the last token.
   *
   * @param scores {@code [tokens]}, as the reward function gave them; each is clipped
   * @param isComplete whether the response ended by itself
   */
  public double[] scores(double[] scores, boolean isComplete) {
    double[] shaped = new double[scores.length];
    for (int t = 0; t < shaped.length; t++) {
      shaped[t] = Math.max(-clip, Math.min(clip, scores[t]));
    }
    shaped[shaped.length - 1] += score(0, isComplete, shaped.length);
    return shaped;
  }

  /**
   * Rewards of a response's tokens (Ziegler et al. 2019, §2.2): {@code -β kl_t}, and the score on
   * the last token.
   *
   * @param kl {@code [tokens]}: the estimate at each token, {@link KlEstimator#of(double[],
   *     double[])}
   * @param coefficient β
   * @param score after clipping, penalties and scaling
   * @return {@code [tokens]}
   * @throws IllegalArgumentException of an empty response
   */
  public static double[] rewards(double[] kl, double coefficient, double score) {
    if (kl.length == 0) {
      throw new IllegalArgumentException("an empty response has no token to reward");
    }
    double[] rewards = penalties(kl, coefficient);
    rewards[kl.length - 1] += score;
    return rewards;
  }

  /**
   * As {@link #rewards(double[], double, double)}, with a score for each token.
   *
   * @param scores {@code [tokens]}
   */
  public static double[] rewards(double[] kl, double coefficient, double[] scores) {
    Lengths.require("scores", scores.length, kl.length);
    double[] rewards = penalties(kl, coefficient);
    for (int t = 0; t < rewards.length; t++) {
      rewards[t] += scores[t];
    }
    return rewards;
  }

  private static double[] penalties(double[] kl, double coefficient) {
    double[] penalties = new double[kl.length];
    for (int t = 0; t < kl.length; t++) {
      penalties[t] = -coefficient * kl[t];
    }
    return penalties;
  }
}
