package org.rlhf4j.ppo.group;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;

/**
 * REINFORCE++ (Hu, 2025) as in OpenRLHF: every token pays for its KL to the reference, the last one
 * has the score on top; the advantage of a token is the sum of the rewards from it on, normalised
 * over all tokens of the roll-out. The loss is PPO's, the mean over all tokens of a step.
 *
 * <pre>{@code
 * ReinforcePlusPlusConfig config = Config.of(ReinforcePlusPlusConfig.class)
 *     .set("model_name_or_path", "runs/sft")
 *     .set("reward_model_name_or_path", "runs/reward")
 *     .set("dataset_path", "prompts.jsonl")
 *     .set("output_dir", "runs/reinforce-pp")
 *     .build();
 * new ReinforcePlusPlusTrainer(config, RunContext.standard()).train();
 * }</pre>
 */
public final class ReinforcePlusPlusTrainer {
  private final ReinforcePlusPlusConfig config;
  private final GroupTrainer trainer;

  /** A trainer with the configured reward model. */
  public ReinforcePlusPlusTrainer(ReinforcePlusPlusConfig config, RunContext context) {
    this(config, context, null);
  }

  /** A trainer with a reward of one's own, for a configuration without a reward model. */
  public ReinforcePlusPlusTrainer(
      ReinforcePlusPlusConfig config, RunContext context, RewardFunction reward) {
    this.config = config;
    GroupTrainer.Keys keys =
        new GroupTrainer.Keys(config, config.training(), config.rollout(), config.group());
    this.trainer = new GroupTrainer(new Method(), keys, context, reward);
  }

  /**
   * Trains, and leaves the model at the top of {@code output_dir}. Where somebody asked to stop, it
   * leaves a checkpoint instead.
   *
   * @return the rows of metrics
   * @throws RlhfException on unusable input, and on numbers that are not finite
   */
  public List<Map<String, Object>> train() {
    return trainer.train();
  }

  /** Looks at what a run would read, without loading weights or writing anything. */
  public void check(Checks checks) {
    trainer.check(checks);
  }

  private final class Method implements GroupMethod {
    @Override
    public String name() {
      return "reinforce-pp";
    }

    @Override
    public String title() {
      return "REINFORCE++";
    }

    @Override
    public boolean comparesLogProbs() {
      return config.group().beta() > 0;
    }

    @Override
    public double[][] advantages(GroupRollout rollout, Map<String, Object> figures) {
      double beta = config.group().beta();
      double[][] rewards = rollout.shaped(config.rollout().shaping());
      double[][] compared =
          config.groupBaseline() ? GroupAdvantages.grpo(rewards, GroupScale.NONE) : rewards;
      double[] scores = Arrays.stream(compared).flatMapToDouble(Arrays::stream).toArray();
      double[][] kl;
      if (beta > 0) {
        kl = rollout.kl(config.klEstimator());
        double[][] paid = ReinforcePlusPlus.bounded(kl);
        double penalty = Arrays.stream(paid).flatMapToDouble(Arrays::stream).sum() / kl.length;
        figures.put(MetricNames.OBJECTIVE_NON_SCORE_REWARD, -beta * penalty);
        figures.put(MetricNames.KL_CLIP_FRACTION, ReinforcePlusPlus.clippedKl(kl));
      } else {
        kl = rollout.ofTokens(rollout.grouped(new double[scores.length]));
      }
      figures.put(MetricNames.SCORES_CLIP_FRACTION, ReinforcePlusPlus.clippedScores(scores));
      return ReinforcePlusPlus.advantages(kl, scores, beta, config.gamma());
    }

    @Override
    public Share loss(Part part) {
      double tokens = part.batch().tokens();
      GroupLoss.Loss loss =
          GroupLoss.of(
              part.logProbs(),
              part.oldLogProbs(),
              null,
              part.advantages(),
              GroupLossType.DAPO.weights(part.lengths(), part.part(), part.batch()),
              GroupLoss.Settings.reinforcePlusPlus(config.group().clip()));
      return new Share(
          loss.loss(),
          loss.derivative(),
          loss.tokens().ratios() / tokens,
          loss.tokens().clippedLow() / tokens,
          loss.tokens().clippedHigh() / tokens,
          Map.of());
    }
  }
}
