package org.rlhf4j.examples;

import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.group.GrpoConfig;
import org.rlhf4j.ppo.group.GrpoTrainer;

/** Teaches a small model to tell of animals, by comparing eight answers to each prompt. */
public final class GrpoExample {
  private GrpoExample() {}

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
            .set("output_dir", args.length > 0 ? args[0] : "runs/example-grpo")
            .set("total_episodes", 512)
            .set("rollout_batch_size", 8)
            .set("num_generations", 8)
            .set("max_new_tokens", 40)
            .set("max_length", 400)
            .set("learning_rate", 3e-4)
            .build();
    RewardFunction animals =
        completions ->
            completions.stream()
                .mapToDouble(
                    completion -> completion.text().split("\\b(dog|cat|bird)", -1).length - 1)
                .toArray();
    new GrpoTrainer(config, RunContext.standard(), animals).train();
  }
}
