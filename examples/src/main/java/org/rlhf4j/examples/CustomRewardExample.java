package org.rlhf4j.examples;

import java.util.Arrays;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.PpoConfig;
import org.rlhf4j.ppo.PpoTrainer;
import org.rlhf4j.ppo.rollout.TokenRewardFunction;

/**
 * A reward of one's own with a number for every token: a token that the response has already is
 * worth less than a new one, where it stands. A number for each response is a {@code
 * RewardFunction}, as in {@link PpoExample}.
 */
public final class CustomRewardExample {
  private CustomRewardExample() {}

  /** 1 for a token that is new at its place, -1 for another, by the response's length. */
  static double[] newness(int[] ids) {
    double[] rewards = new double[ids.length];
    for (int t = 0; t < ids.length; t++) {
      int token = ids[t];
      boolean isNew = Arrays.stream(ids, 0, t).noneMatch(before -> before == token);
      rewards[t] = (isNew ? 1.0 : -1.0) / ids.length;
    }
    return rewards;
  }

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
            .set("output_dir", args.length > 0 ? args[0] : "runs/example-custom-reward")
            .set("total_episodes", 64)
            .set("rollout_batch_size", 32)
            .set("num_ppo_epochs", 2)
            .set("num_layers_unfrozen", 3)
            .set("max_new_tokens", 24)
            .set("max_length", 400)
            .set("learning_rate", 3e-4)
            .build();
    TokenRewardFunction newTokens =
        completions ->
            completions.stream()
                .map(completion -> newness(completion.ids()))
                .toArray(double[][]::new);
    new PpoTrainer(config, RunContext.standard(), newTokens).train();
  }
}
