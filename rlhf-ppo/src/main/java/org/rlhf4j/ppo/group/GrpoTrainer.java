package org.rlhf4j.ppo.group;

import java.util.List;
import java.util.Map;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;

/**
 * Group relative policy optimisation (Shao et al., 2024) as in TRL: the advantage of a response is
 * the distance of its reward from the mean of its group, the same for all its tokens; the loss is
 * PPO's, with the KL to the reference beside it.
 *
 * <pre>{@code
 * GrpoConfig config = Config.of(GrpoConfig.class)
 *     .set("model_name_or_path", "runs/sft")
 *     .set("reward_model_name_or_path", "runs/reward")
 *     .set("dataset_path", "prompts.jsonl")
 *     .set("output_dir", "runs/grpo")
 *     .build();
 * new GrpoTrainer(config, RunContext.standard()).train();
 * }</pre>
 */
public final class GrpoTrainer {
  private final GrpoConfig config;
  private final GroupTrainer trainer;

  /** A trainer with the configured reward model. */
  public GrpoTrainer(GrpoConfig config, RunContext context) {
    this(config, context, null);
  }

  /** A trainer with a reward of one's own, for a configuration without a reward model. */
  public GrpoTrainer(GrpoConfig config, RunContext context, RewardFunction reward) {
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

  GroupTrainer trainer() {
    return trainer;
  }

  private final class Method implements GroupMethod {
    @Override
    public String name() {
      return "grpo";
    }

    @Override
    public String title() {
      return "Group relative policy optimisation";
    }

    /** The KL to the reference stands in the loss, not in the reward. */
    @Override
    public boolean comparesLogProbs() {
      return false;
    }

    @Override
    public double[][] advantages(GroupRollout rollout, Map<String, Object> figures) {
      double[][] rewards = rollout.shaped(config.rollout().shaping());
      return rollout.ofTokens(GroupAdvantages.grpo(rewards, config.scaleRewards()));
    }

    @Override
    public Share loss(Part part) {
      int[] lengths = part.lengths();
      GroupLoss.Loss loss =
          GroupLoss.of(
              part.logProbs(),
              part.oldLogProbs(),
              part.referenceLogProbs(),
              part.advantages(),
              config.lossType().weights(lengths, part.part(), part.batch()),
              GroupLoss.Settings.grpo(config.group().clip(), config.group().beta()));
      double tokens = part.batch().tokens();
      return new Share(
          loss.loss(),
          loss.derivative(),
          loss.tokens().ratios() / tokens,
          loss.tokens().clippedLow() / tokens,
          loss.tokens().clippedHigh() / tokens,
          config.group().beta() > 0
              ? Map.of(MetricNames.KL, loss.tokens().referenceKl() / tokens)
              : Map.of());
    }
  }
}
