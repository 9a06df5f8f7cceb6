package org.rlhf4j.examples;

import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.PpoConfig;
import org.rlhf4j.ppo.PpoTrainer;

/**
 * Teaches a small model short sentences, by PPO. Its upper three of five blocks are trained; the
 * lower two are shared with the reference and with the value network.
 */
public final class PpoExample {
  private PpoExample() {}

  /**
   * Runs from the root of a checkout.
   *
   * @param args the output folder
   */
  public static void main(String[] args) {
    PpoConfig config =
        Config.of(PpoConfig.class)
            .set("model_name_or_path", "examples/models/tinystories-260k")
            .set("dataset_path", "examples/data/hh/harmless-base-train.jsonl.gz")
            .set("output_dir", args.length > 0 ? args[0] : "runs/example-ppo")
            .set("total_episodes", 64)
            .set("rollout_batch_size", 32)
            .set("num_ppo_epochs", 2)
            .set("num_layers_unfrozen", 3)
            .set("value_network", "reference_branch")
            .set("num_value_layers_unfrozen", 3)
            .set("scale_reward", "running")
            .set("max_new_tokens", 24)
            .set("max_length", 400)
            .set("learning_rate", 3e-4)
            .build();
    RewardFunction manySentences =
        completions ->
            completions.stream()
                .mapToDouble(completion -> completion.text().split("[.!?]", -1).length - 1)
                .toArray();
    new PpoTrainer(config, RunContext.standard(), manySentences).train();
  }
}
