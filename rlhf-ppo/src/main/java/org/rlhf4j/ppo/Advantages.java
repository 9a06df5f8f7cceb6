package org.rlhf4j.ppo;

import org.rlhf4j.ppo.rollout.Lengths;

/** How much better each token did than the value network expected. */
public final class Advantages {
  private Advantages() {}

  /**
   * Advantages of one response, and what the value network is to learn.
   *
   * @param advantages {@code [tokens]}
   * @param returns {@code [tokens]}
   */
  public record Estimate(double[] advantages, double[] returns) {}

  /**
   * Generalised advantage estimation (Schulman et al. 2016, equation 16) of one response, whose
   * last token ends the episode:
   *
   * <pre>
   * δ_t = r_t + γ V_{t+1} - V_t
   * A_t = δ_t + γ λ A_{t+1}
   * return_t = A_t + V_t
   * </pre>
   *
   * @param rewards {@code [tokens]}
   * @param values {@code [tokens]}: of the state in which each token was chosen, that is at the
   *     position before it
   * @param gamma discount γ
   * @param lambda weight λ of longer looks ahead
   * @throws IllegalArgumentException if the lengths differ
   */
  public static Estimate gae(double[] rewards, double[] values, double gamma, double lambda) {
    Lengths.require("values", values.length, rewards.length);
    double[] advantages = new double[rewards.length];
    double[] returns = new double[rewards.length];
    double nextValue = 0;
    double nextAdvantage = 0;
    for (int t = rewards.length - 1; t >= 0; t--) {
      double delta = rewards[t] + gamma * nextValue - values[t];
      advantages[t] = delta + gamma * lambda * nextAdvantage;
      returns[t] = advantages[t] + values[t];
      nextValue = values[t];
      nextAdvantage = advantages[t];
    }
    return new Estimate(advantages, returns);
  }
}
