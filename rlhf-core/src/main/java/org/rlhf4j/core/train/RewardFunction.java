package org.rlhf4j.core.train;

import java.util.List;
import org.rlhf4j.core.RlhfException;

/**
 * What responses are worth: a reward model, a rule, any Java function of texts or token ids.
 *
 * <pre>{@code
 * RewardFunction shortAnswers =
 *     completions -> completions.stream().mapToDouble(c -> -c.ids().length).toArray();
 * }</pre>
 */
@FunctionalInterface
public interface RewardFunction {
  /**
   * The rewards of some responses. The same responses must always get the same rewards, or a
   * resumed run is not the run that was interrupted.
   *
   * @param completions at least one; responses to one prompt stand side by side
   * @return one finite number for each, in their order
   */
  double[] rewards(List<Completion> completions);

  /**
   * A prompt with one response. Texts are empty where the model has no tokenizer.
   *
   * @param index the prompt's row in its data set, from 0
   * @param sample the response's number among those to its prompt, from 0
   * @param prompt the rendered prompt
   * @param text the response without special tokens and stop string; the reward is of {@code prompt
   *     + text}
   * @param promptIds the prompt as the model read it
   * @param ids the response as the model wrote it, with the end-of-sequence token that ended it
   */
  record Completion(int index, int sample, String prompt, String text, int[] promptIds, int[] ids) {
    /** Names the response in messages. */
    public String place() {
      return "prompt " + index + ", response " + sample;
    }
  }

  /**
   * Asks a function and checks its answer.
   *
   * @throws StopSignal.Stopped where somebody asked to stop while it was waited for
   * @throws RlhfException where the function fails, or answers with another count or a number that
   *     is not finite
   */
  static double[] checked(RewardFunction function, List<Completion> completions) {
    double[] rewards;
    try {
      rewards = function.rewards(completions);
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
          "the reward function gave %s rewards for %d responses; one for each is needed"
              .formatted(rewards == null ? "no" : rewards.length, completions.size()));
    }
    for (int i = 0; i < rewards.length; i++) {
      if (!Double.isFinite(rewards[i])) {
        throw RlhfException.nonFinite(
            "the reward of " + completions.get(i).place() + " is " + rewards[i]);
      }
    }
    return rewards;
  }
}
