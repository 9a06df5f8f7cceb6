package org.rlhf4j.examples;

import java.util.List;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.raft.RaftConfig;
import org.rlhf4j.raft.RaftTrainer;

/** Reward-ranked fine-tuning towards a reward that is a Java function: short answers. */
public final class RaftExample {
  private RaftExample() {}

  /**
   * Runs from the root of a checkout.
   *
   * @param args the output folder
   */
  public static void main(String[] args) {
    RaftConfig config =
        Config.of(RaftConfig.class)
            .set("model_name_or_path", "examples/models/tinystories-260k")
            .set("dataset_path", "examples/data/hh/harmless-base-test.jsonl.gz")
            .set("output_dir", args.length > 0 ? args[0] : "runs/example-raft")
            .set("num_raft_iterations", 2)
            .set("prompts_per_iteration", 16)
            .set("max_new_tokens", 32)
            .set("max_length", 460)
            .set("learning_rate", 1e-3)
            .build();
    new RaftTrainer(config, RunContext.standard(), RaftExample::brevity).train();
  }

  private static double[] brevity(List<RewardFunction.Completion> completions) {
    return completions.stream().mapToDouble(one -> -one.text().length()).toArray();
  }
}
