package org.rlhf4j.ppo.rollout;

import java.util.Arrays;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.StopSignal;

/**
 * A reward for every token of a response instead of one for the whole. Handed to a trainer as a
 * {@link RewardFunction}, whose rewards are the sums.
 */
@FunctionalInterface
public interface TokenRewardFunction extends RewardFunction {
  /**
   * The rewards of some responses' tokens; as {@link RewardFunction#rewards}.
   *
   * @return for each response, in their order, one finite number for each of its {@code ids}
   */
  double[][] tokenRewards(List<Completion> completions);

  // The sums are what whoever asks for rewards of whole responses has to get.
  @SuppressWarnings("FunctionalInterfaceMethodChanged")
  @Override
  default double[] rewards(List<Completion> completions) {
    return Arrays.stream(tokenRewards(completions))
        .mapToDouble(row -> Arrays.stream(row).sum())
        .toArray();
  }

  /**
   * Asks a function and checks its answer, as {@link RewardFunction#checked}.
   *
   * @throws StopSignal.Stopped where somebody asked to stop while it was waited for
   * @throws RlhfException where the function fails, or answers with another count or a number that
   *     is not finite
   */
  static double[][] checked(TokenRewardFunction function, List<Completion> completions) {
    double[][] rewards;
    try {
      rewards = function.tokenRewards(completions);
    } catch (RlhfException | StopSignal.Stopped e) {
      throw e;
    } catch (RuntimeException | AssertionError | StackOverflowError | LinkageError e) {
      // These errors too are the function's own; others are the virtual machine's.
      throw RlhfException.input(
          "the reward function failed on %d responses, the first of them %s: %s"
              .formatted(completions.size(), completions.get(0).place(), e),
          e);
    }
    if (rewards == null || rewards.length != completions.size()) {
      throw RlhfException.input(
          "the reward function gave %s lists of rewards for %d responses; one for each is needed"
              .formatted(rewards == null ? "no" : rewards.length, completions.size()));
    }
    for (int i = 0; i < rewards.length; i++) {
      Completion completion = completions.get(i);
      if (rewards[i] == null || rewards[i].length != completion.ids().length) {
        throw RlhfException.input(
            "the reward function gave %s rewards for the %d tokens of %s; one for each is needed"
                .formatted(
                    rewards[i] == null ? "no" : rewards[i].length,
                    completion.ids().length,
                    completion.place()));
      }
      for (double reward : rewards[i]) {
        if (!Double.isFinite(reward)) {
          throw RlhfException.nonFinite(
              "the reward of a token of " + completion.place() + " is " + reward);
        }
      }
    }
    return rewards;
  }
}
