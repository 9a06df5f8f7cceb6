package org.rlhf4j.ppo;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RewardFunction.Completion;

/** Asks the reward, and checks what it answers. */
final class Rewards {
  private final RewardFunction function;
  private final boolean isDelta;

  /**
   * Rewards by a function, which is the caller's.
   *
   * @param isDelta whether the score of the data set's own answer is taken off
   * @throws RlhfException if the function gives a reward for each token, and {@code isDelta}
   */
  Rewards(RewardFunction function, boolean isDelta) {
    this.function = function;
    this.isDelta = isDelta;
    if (isDelta && function instanceof TokenRewardFunction) {
      throw RlhfException.config(
          "delta_reward true: takes one score off another; the reward function gives one for each"
              + " token");
    }
  }

  /**
   * What responses are worth.
   *
   * @param scores {@code [responses]}
   * @param tokenScores {@code [responses][tokens]}; null where the reward is of whole responses
   */
  record Found(double[] scores, double[][] tokenScores) {}

  /**
   * The worth of some responses.
   *
   * @param answers the data set's own, by the prompt's index; looked at for a delta only
   */
  Found of(List<Completion> completions, Map<Integer, Completion> answers) {
    if (function instanceof TokenRewardFunction dense) {
      double[][] tokenScores = TokenRewardFunction.checked(dense, completions);
      double[] sums =
          Arrays.stream(tokenScores).mapToDouble(row -> Arrays.stream(row).sum()).toArray();
      return new Found(sums, tokenScores);
    }
    double[] scores = RewardFunction.checked(function, completions).clone();
    if (isDelta) {
      List<Completion> own =
          completions.stream().map(completion -> answers.get(completion.index())).toList();
      double[] ofOwn = RewardFunction.checked(function, own);
      for (int i = 0; i < scores.length; i++) {
        scores[i] -= ofOwn[i];
      }
    }
    return new Found(scores, null);
  }
}
