package org.rlhf4j.ppo.group;

import java.util.Arrays;
import java.util.stream.DoubleStream;
import org.rlhf4j.ppo.Advantages;
import org.rlhf4j.ppo.Whitening;
import org.rlhf4j.ppo.rollout.Lengths;
import org.rlhf4j.ppo.rollout.RewardShaping;

/** Advantages of REINFORCE++ (Hu 2025) as in OpenRLHF: no value network, one normalisation. */
public final class ReinforcePlusPlus {
  private static final double LARGEST_KL = 10;
  private static final double LARGEST_SCORE = 10;

  private ReinforcePlusPlus() {}

  /**
   * Discounted sums of the rewards that follow each token, normalised over all tokens of the batch
   * ({@link Whitening#normalize}). A token's reward is {@code -β kl} with the KL held within ±10;
   * the last one has the score on top, held within ±10.
   *
   * @param kl estimates at the tokens, {@code [responses][tokens]}
   * @param scores {@code [responses]}; for the variant with a baseline those of {@link
   *     GroupAdvantages#grpo} with {@link GroupScale#NONE}, and γ = 1
   * @param coefficient β
   * @param gamma discount γ
   * @return {@code [responses][tokens]}
   * @throws IllegalArgumentException if the numbers of responses differ, or of an empty response
   */
  public static double[][] advantages(
      double[][] kl, double[] scores, double coefficient, double gamma) {
    Lengths.require("scores", scores.length, kl.length);
    double[][] bounded = bounded(kl);
    double[][] returns = new double[kl.length][];
    for (int row = 0; row < kl.length; row++) {
      double score = bounded(scores[row], LARGEST_SCORE);
      double[] rewards = RewardShaping.rewards(bounded[row], coefficient, score);
      // With values of 0 and λ = 1 the advantage is the discounted sum.
      returns[row] = Advantages.gae(rewards, new double[rewards.length], gamma, 1).advantages();
    }
    return Whitening.normalize(returns);
  }

  /**
   * The KL that tokens pay for, held within ±10.
   *
   * @param kl {@code [responses][tokens]}
   * @return likewise
   */
  public static double[][] bounded(double[][] kl) {
    return Arrays.stream(kl)
        .map(row -> Arrays.stream(row).map(each -> bounded(each, LARGEST_KL)).toArray())
        .toArray(double[][]::new);
  }

  /** Share of the responses whose score is held within ±10. */
  public static double clippedScores(double[] scores) {
    return share(Arrays.stream(scores), LARGEST_SCORE);
  }

  /**
   * Share of the tokens whose KL is held within ±10.
   *
   * @param kl {@code [responses][tokens]}
   */
  public static double clippedKl(double[][] kl) {
    return share(Arrays.stream(kl).flatMapToDouble(Arrays::stream), LARGEST_KL);
  }

  private static double share(DoubleStream numbers, double bound) {
    return numbers.map(number -> Math.abs(number) > bound ? 1 : 0).average().orElse(0);
  }

  private static double bounded(double number, double bound) {
    return Math.max(-bound, Math.min(bound, number));
  }
}
