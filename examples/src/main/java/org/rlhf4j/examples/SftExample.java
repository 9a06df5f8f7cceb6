package org.rlhf4j.examples;

import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.sft.SftConfig;
import org.rlhf4j.sft.SftTrainer;

/** Fine-tunes a small model on the chosen side of preference data. */
public final class SftExample {
  private SftExample() {}

  /**
   * Runs from the root of a checkout.
   *
   * @param args the output folder
   */
  public static void main(String[] args) {
    SftConfig config =
        Config.of(SftConfig.class)
            .set("model_name_or_path", "examples/models/tinystories-260k")
            .set("dataset_path", "examples/data/hh/harmless-base-train.jsonl.gz")
            .set("output_dir", args.length > 0 ? args[0] : "runs/example-sft")
            .set("max_length", 512)
            .set("learning_rate", 1e-3)
            .set("max_steps", 10)
            .build();
    new SftTrainer(config, RunContext.standard()).train();
  }
}
