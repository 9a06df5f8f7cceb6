package org.rlhf4j.examples;

import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.raft.RaftConfig;
import org.rlhf4j.raft.RaftTrainer;

/** Teaches a small model short sentences, by a reward that is a Java function. */
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
            .set("dataset_path", "examples/data/hh/harmless-base-train.jsonl.gz")
            .set("output_dir", args.length > 0 ? args[0] : "runs/example-raft")
            .set("num_raft_iterations", 3)
            .set("prompts_per_iteration", 32)
            .set("max_new_tokens", 40)
            .set("max_length", 400)
            .set("learning_rate", 3e-4)
            .build();
    RewardFunction manySentences =
        completions ->
            completions.stream()
                .mapToDouble(completion -> completion.text().split("[.!?]", -1).length - 1)
                .toArray();
    new RaftTrainer(config, RunContext.standard(), manySentences).train();
  }
}
