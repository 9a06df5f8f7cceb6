package org.rlhf4j.examples;

import java.util.Map;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.ClipRange;
import org.rlhf4j.ppo.group.GroupAdvantages;
import org.rlhf4j.ppo.group.GroupMethod;
import org.rlhf4j.ppo.group.GroupRollout;
import org.rlhf4j.ppo.group.GroupTrainer;
import org.rlhf4j.ppo.group.GrpoConfig;

/** A method of one's own: GSPO (Zheng et al. 2025), whose ratios are of whole responses. */
public final class OwnMethodExample {
  private OwnMethodExample() {}

  /** The mean over responses of {@code -min(sA, clip(s)A)}, log s being the mean of log ratios. */
  record Gspo(GrpoConfig config) implements GroupMethod {
    Gspo {
      if (config.group().beta() != 0) {
        throw new IllegalArgumentException("beta: GSPO has no KL to the reference in its loss");
      }
    }

    @Override
    public String name() {
      return "gspo";
    }

    @Override
    public String title() {
      return "Group sequence policy optimisation";
    }

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
      double responses = part.batch().responses();
      double[] derivative = new double[part.logProbs().length];
      double loss = 0;
      double ratios = 0;
      double clippedLow = 0;
      double clippedHigh = 0;
      int from = 0;
      for (int length : part.lengths()) {
        double logRatio = 0;
        for (int t = from; t < from + length; t++) {
          logRatio += (part.logProbs()[t] - part.oldLogProbs()[t]) / length;
        }
        double advantage = part.advantages()[from];
        ClipRange.Term term = config.group().clip().term(logRatio, advantage);
        for (int t = from; t < from + length; t++) {
          derivative[t] = term.derivative() / length / responses;
        }
        loss += term.loss() / responses;
        ratios += term.ratio() / responses;
        clippedLow += term.isClipped() && advantage < 0 ? 1 / responses : 0;
        clippedHigh += term.isClipped() && advantage > 0 ? 1 / responses : 0;
        from += length;
      }
      return new Share(loss, derivative, ratios, clippedLow, clippedHigh, Map.of());
    }
  }

  /**
   * Runs from the root of a checkout.
   *
   * @param args the output folder
   */
  public static void main(String[] args) {
    GrpoConfig config =
        Config.of(GrpoConfig.class)
            .set("model_name_or_path", "examples/models/tinystories-260k")
            .set("dataset_path", "examples/data/hh/harmless-base-train.jsonl.gz")
            .set("output_dir", args.length > 0 ? args[0] : "runs/example-own-method")
            .set("total_episodes", 512)
            .set("rollout_batch_size", 16)
            .set("mini_batch_size", 64)
            .set("max_new_tokens", 24)
            .set("max_length", 400)
            .set("learning_rate", 3e-4)
            .set("epsilon", 3e-4)
            .set("epsilon_high", 4e-4)
            .build();
    RewardFunction exclamations =
        completions ->
            completions.stream().mapToDouble(c -> c.text().split("!", -1).length - 1).toArray();
    GroupTrainer.Keys keys =
        new GroupTrainer.Keys(config, config.training(), config.rollout(), config.group());
    new GroupTrainer(new Gspo(config), keys, RunContext.standard(), exclamations).train();
  }
}
