package org.rlhf4j.examples;

import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.reward.RewardConfig;
import org.rlhf4j.reward.RewardTrainer;

/** Trains a reward model on preference pairs. */
public final class RewardExample {
  private RewardExample() {}

  /**
   * Runs from the root of a checkout.
   *
   * @param args the output folder
   */
  public static void main(String[] args) {
    RewardConfig config =
        Config.of(RewardConfig.class)
            .set("model_name_or_path", "examples/models/tinystories-260k")
            .set("dataset_path", "examples/data/hh/harmless-base-train.jsonl.gz")
            .set("eval_dataset_path", "examples/data/hh/harmless-base-test.jsonl.gz")
            .set("output_dir", args.length > 0 ? args[0] : "runs/example-reward")
            .set("learning_rate", 3e-4)
            .set("max_steps", 10)
            .build();
    new RewardTrainer(config, RunContext.standard()).train();
  }
}
