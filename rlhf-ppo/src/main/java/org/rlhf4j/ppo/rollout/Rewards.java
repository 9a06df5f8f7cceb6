package org.rlhf4j.ppo.rollout;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RewardFunction.Completion;

/** Asks the reward, and checks what it answers. */
public final class Rewards {
  private final RewardFunction function;
  private final OfTokens ofTokens;
  private final boolean isDelta;

  /**
   * A function of tokens, asked for whole responses: it answers with the sums and remembers what
   * they are of.
   */
  public static final class OfTokens implements RewardFunction {
    private final TokenRewardFunction function;
    private double[][] last;

    /** Asks such a function. */
    public OfTokens(TokenRewardFunction function) {
      this.function = function;
    }

    @Override
    public double[] rewards(List<Completion> completions) {
      last = TokenRewardFunction.checked(function, completions);
      return Arrays.stream(last).mapToDouble(row -> Arrays.stream(row).sum()).toArray();
    }
  }

  /**
   * Rewards by a function, which is the caller's.
   *
   * @param ofTokens what {@code function} asks in the end; null where that has one for each
   *     response
   * @param isDelta whether the score of the data set's own answer is taken off
   */
  public Rewards(RewardFunction function, OfTokens ofTokens, boolean isDelta) {
    this.function = function;
    this.ofTokens = ofTokens;
    this.isDelta = isDelta;
  }

  /**
   * What responses are worth.
   *
   * @param scores {@code [responses]}
   * @param tokenScores {@code [responses][tokens]}; null where the reward is of whole responses
   */
  public record Found(double[] scores, double[][] tokenScores) {}

  /**
   * The worth of some responses.
   *
   * @param answers the data set's own, by the prompt's index; looked at for a delta only
   */
  public Found of(List<Completion> completions, Map<Integer, Completion> answers) {
    double[] scores = RewardFunction.checked(function, completions).clone();
    if (isDelta) {
      // Responses to one prompt are compared with one answer, which is asked for once.
      List<Integer> prompts = completions.stream().map(Completion::index).distinct().toList();
      double[] ofAnswers =
          RewardFunction.checked(function, prompts.stream().map(answers::get).toList());
      for (int i = 0; i < scores.length; i++) {
        scores[i] -= ofAnswers[prompts.indexOf(completions.get(i).index())];
      }
    }
    return new Found(scores, ofTokens == null ? null : ofTokens.last);
  }
}
