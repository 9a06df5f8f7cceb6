package org.rlhf4j.ppo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.ppo.rollout.Floats;
import org.rlhf4j.ppo.rollout.RewardShaping;
import org.rlhf4j.ppo.rollout.Spread;

/**
 * Makes of what a roll-out measured what the losses learn from: scores are shaped and scaled, the
 * KL penalty is taken off, rewards become advantages and returns.
 *
 * @param shaping clips scores and takes penalties off
 * @param update the keys of rewards and advantages
 */
record ExperienceMaker(RewardShaping shaping, UpdateConfig update) {
  /**
   * What was made.
   *
   * @param scaling with this roll-out's scores known
   * @param figures by metric name
   */
  record Made(List<Experience> samples, ScoreScaling scaling, Map<String, Object> figures) {}

  /**
   * Makes experience of a roll-out.
   *
   * @param before how scores were scaled before it
   * @param klCoefficient weight of the KL penalty
   */
  Made make(Rollout rollout, ScoreScaling before, double klCoefficient) {
    int size = rollout.size();
    double[][] shaped = new double[size][];
    for (int i = 0; i < size; i++) {
      shaped[i] = shaped(rollout, i);
    }
    ScoreScaling scaling =
        before.with(Arrays.stream(shaped).mapToDouble(row -> Arrays.stream(row).sum()).toArray());
    Map<String, Object> figures = new LinkedHashMap<>();
    double[][] rewards = rewards(rollout, shaped, scaling.divisor(), klCoefficient, figures);
    if (update.whitenRewards()) {
      rewards = whitened(rewards, false);
    }
    double[][] advantages = new double[size][];
    double[][] returns = new double[size][];
    for (int i = 0; i < size; i++) {
      Advantages.Estimate estimate =
          Advantages.gae(
              rewards[i], Floats.wide(rollout.values()[i]), update.gamma(), update.lam());
      advantages[i] = estimate.advantages();
      returns[i] = estimate.returns();
    }
    // The advantages are what the values left unexplained of the returns.
    double spread = Spread.of(returns).biasedVariance();
    figures.put(
        MetricNames.EXPLAINED_VARIANCE,
        spread > 0 ? 1 - Spread.of(advantages).biasedVariance() / spread : 0);
    if (update.whitenAdvantages()) {
      advantages = whitened(advantages, true);
    }
    List<Experience> samples = new ArrayList<>();
    for (int i = 0; i < size; i++) {
      PromptRow prompt = rollout.prompts().get(i);
      samples.add(
          new Experience(
              prompt.index(),
              prompt.ids(),
              rollout.responses().get(i).tokenIds(),
              rollout.logProbs()[i],
              rollout.referenceLogProbs()[i],
              rollout.values()[i],
              rewards[i],
              advantages[i],
              returns[i],
              null));
    }
    return new Made(samples, scaling, figures);
  }

  /** The scores of a response's tokens before scaling; a whole response's is on its last. */
  private double[] shaped(Rollout rollout, int place) {
    boolean isComplete = rollout.isComplete(place);
    if (rollout.tokenScores() != null) {
      return shaping.scores(rollout.tokenScores()[place], isComplete);
    }
    double[] scores = new double[rollout.responses().get(place).tokenIds().length];
    scores[scores.length - 1] = shaping.score(rollout.scores()[place], isComplete, scores.length);
    return scores;
  }

  private double[][] rewards(
      Rollout rollout,
      double[][] shaped,
      double divisor,
      double klCoefficient,
      Map<String, Object> figures) {
    int size = rollout.size();
    double[][] rewards = new double[size][];
    double penalties = 0;
    double sums = 0;
    for (int i = 0; i < size; i++) {
      double[] kl =
          update
              .klEstimator()
              .of(Floats.wide(rollout.logProbs()[i]), Floats.wide(rollout.referenceLogProbs()[i]));
      double[] scaled = Arrays.stream(shaped[i]).map(score -> score / divisor).toArray();
      rewards[i] = RewardShaping.rewards(kl, klCoefficient, scaled);
      penalties -= klCoefficient * Arrays.stream(kl).sum() / size;
      sums += Arrays.stream(rewards[i]).sum() / size;
    }
    figures.put(MetricNames.OBJECTIVE_NON_SCORE_REWARD, penalties);
    figures.put(MetricNames.OBJECTIVE_RLHF_REWARD, sums);
    return rewards;
  }

  /** A single token, which has no spread, stays as it is. */
  private static double[][] whitened(double[][] rows, boolean shiftMean) {
    int tokens = Arrays.stream(rows).mapToInt(row -> row.length).sum();
    return tokens < 2 ? rows : Whitening.whiten(rows, shiftMean);
  }
}
