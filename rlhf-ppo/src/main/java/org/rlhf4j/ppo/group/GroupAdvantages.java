package org.rlhf4j.ppo.group;

import java.util.Arrays;
import org.rlhf4j.ppo.rollout.Spread;

/**
 * Advantages without a value network: a response is compared with the others to its prompt. All
 * arrays are {@code [prompts][responses]}; results have the shape of the rewards. A group needs at
 * least two responses.
 */
public final class GroupAdvantages {
  private static final double STABILISER = 1e-4;

  private GroupAdvantages() {}

  /**
   * GRPO (Shao et al. 2024, §4.1.2): {@code (r - mean of the group) / (deviation + 1e-4)}, the
   * deviation with divisor n - 1 as TRL has it; without the division that of Dr. GRPO (Liu et al.
   * 2025).
   */
  public static double[][] grpo(double[][] rewards, GroupScale scale) {
    double[][] advantages = new double[rewards.length][];
    double ofBatch = Spread.of(rewards).unbiasedDeviation();
    for (int prompt = 0; prompt < rewards.length; prompt++) {
      Spread group = group(rewards[prompt]);
      double divisor =
          switch (scale) {
            case GROUP -> group.unbiasedDeviation() + STABILISER;
            case BATCH -> ofBatch + STABILISER;
            case NONE -> 1;
          };
      advantages[prompt] = scaled(rewards[prompt], group.mean(), divisor);
    }
    return advantages;
  }

  /** RLOO (Ahmadian et al. 2024, §3.3): {@code r - mean of the other responses' rewards}. */
  public static double[][] leaveOneOut(double[][] rewards) {
    double[][] advantages = new double[rewards.length][];
    for (int prompt = 0; prompt < rewards.length; prompt++) {
      int responses = rewards[prompt].length;
      // r - (sum - r) / (n - 1) = (r - mean) n / (n - 1)
      double mean = group(rewards[prompt]).mean();
      advantages[prompt] = scaled(rewards[prompt], mean, (responses - 1.0) / responses);
    }
    return advantages;
  }

  /** {@code (A - mean) / (deviation + 1e-4)} over the whole batch: RLOO's normalised advantages. */
  public static double[][] normalized(double[][] advantages) {
    Spread spread = Spread.of(advantages);
    double[][] normalized = new double[advantages.length][];
    for (int prompt = 0; prompt < advantages.length; prompt++) {
      normalized[prompt] =
          scaled(advantages[prompt], spread.mean(), spread.unbiasedDeviation() + STABILISER);
    }
    return normalized;
  }

  /**
   * How many groups have rewards that are all equal: nothing is learned from them.
   *
   * @param rewards {@code [prompts][responses]}
   */
  public static int groupsWithoutSpread(double[][] rewards) {
    int without = 0;
    for (double[] group : rewards) {
      // Not by the variance, which rounding of the mean keeps above 0.
      without += Arrays.stream(group).allMatch(reward -> reward == group[0]) ? 1 : 0;
    }
    return without;
  }

  private static Spread group(double[] rewards) {
    if (rewards.length < 2) {
      throw new IllegalArgumentException(
          "a group of %d responses has nothing to compare; at least 2 are needed"
              .formatted(rewards.length));
    }
    return Spread.of(rewards);
  }

  private static double[] scaled(double[] numbers, double mean, double divisor) {
    double[] scaled = new double[numbers.length];
    for (int i = 0; i < numbers.length; i++) {
      scaled[i] = (numbers[i] - mean) / divisor;
    }
    return scaled;
  }
}
