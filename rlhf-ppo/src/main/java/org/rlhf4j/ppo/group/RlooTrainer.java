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
 * REINFORCE with a leave-one-out baseline (Ahmadian et al., 2024) as in TRL: a response is one
 * action; its reward pays for the KL to the reference, and its advantage is the distance from the
 * mean reward of the other responses to the prompt.
 *
 * <pre>{@code
 * RlooConfig config = Config.of(RlooConfig.class)
 *     .set("model_name_or_path", "runs/sft")
 *     .set("reward_model_name_or_path", "runs/reward")
 *     .set("dataset_path", "prompts.jsonl")
 *     .set("output_dir", "runs/rloo")
 *     .build();
 * new RlooTrainer(config, RunContext.standard()).train();
 * }</pre>
 */
public final class RlooTrainer {
  private final RlooConfig config;
  private final GroupTrainer trainer;

  /** A trainer with the configured reward model. */
  public RlooTrainer(RlooConfig config, RunContext context) {
    this(config, context, null);
  }

  /** A trainer with a reward of one's own, for a configuration without a reward model. */
  public RlooTrainer(RlooConfig config, RunContext context, RewardFunction reward) {
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
      return "rloo";
    }

    @Override
    public String title() {
      return "REINFORCE, leave one out";
    }

    @Override
    public boolean comparesLogProbs() {
      return config.group().beta() > 0;
    }

    @Override
    public double[][] advantages(GroupRollout rollout, Map<String, Object> figures) {
      double beta = config.group().beta();
      double[][] rewards = rollout.shaped(config.rollout().shaping());
      if (beta > 0) {
        double[][] penalties = rollout.grouped(rollout.kls());
        for (int group = 0; group < rewards.length; group++) {
          for (int i = 0; i < rewards[group].length; i++) {
            rewards[group][i] = RlooLoss.reward(rewards[group][i], beta, penalties[group][i]);
          }
        }
        figures.put(
            MetricNames.OBJECTIVE_RLHF_REWARD,
            Arrays.stream(rewards).flatMapToDouble(Arrays::stream).average().orElseThrow());
      }
      double[][] advantages = GroupAdvantages.leaveOneOut(rewards);
      return rollout.ofTokens(
          config.normalizeAdvantages() ? GroupAdvantages.normalized(advantages) : advantages);
    }

    @Override
    public Share loss(Part part) {
      double responses = part.batch().responses();
      RlooLoss.Loss loss =
          RlooLoss.of(
              part.logProbs(),
              part.oldLogProbs(),
              part.lengths(),
              // All tokens of a response have its advantage.
              part.samples().stream().mapToDouble(sample -> sample.advantages()[0]).toArray(),
              responses,
              config.group().clip());
      return new Share(
          loss.loss(),
          loss.derivative(),
          loss.ratios().mean(),
          loss.clippedLow() / responses,
          loss.clippedHigh() / responses,
          Map.of());
    }
  }
}
