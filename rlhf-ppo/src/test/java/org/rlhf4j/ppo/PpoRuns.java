package org.rlhf4j.ppo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.group.GroupRuns;

/** Small runs of PPO. */
final class PpoRuns {
  private final Path folder;
  private final Path model;
  private final Path prompts;
  private final Path held;

  /** A model and eight prompts in a folder. */
  PpoRuns(Path folder) throws IOException {
    this.folder = folder;
    model = TinyModel.causalLm(folder.resolve("model"), 1);
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      lines.add("{\"prompt\": \"Tell me %s\"}".formatted("more ".repeat(i % 3)));
    }
    prompts = Files.write(folder.resolve("prompts.jsonl"), lines);
    held = Files.write(folder.resolve("held.jsonl"), lines.subList(0, 4));
  }

  Path model() {
    return model;
  }

  Path held() {
    return held;
  }

  Path output(String name) {
    return folder.resolve(name);
  }

  /**
   * The keys of a run of two roll-outs of eight responses, each with four steps on four.
   *
   * @param more keys and values
   */
  ConfigBuilder<PpoConfig> builder(String output, Object... more) {
    ConfigBuilder<PpoConfig> builder =
        Config.of(PpoConfig.class)
            .set("model_name_or_path", model.toString())
            .set("dataset_path", prompts.toString())
            .set("output_dir", output(output).toString())
            .set("dtype", "fp32")
            .set("learning_rate", 5e-3)
            .set("max_length", 64)
            .set("max_new_tokens", 5)
            .set("rollout_batch_size", 8)
            .set("mini_batch_size", 4)
            .set("per_device_train_batch_size", 4)
            .set("num_ppo_epochs", 2)
            .set("num_layers_unfrozen", 1)
            .set("total_episodes", 16)
            .set("logging_steps", 1);
    for (int i = 0; i < more.length; i += 2) {
      builder.set((String) more[i], more[i + 1]);
    }
    return builder;
  }

  /** Runs with {@link GroupRuns#SMALL_IDS} as the reward. */
  List<Map<String, Object>> train(String output, Object... more) {
    PpoConfig config = builder(output, more).build();
    return new PpoTrainer(config, RunContext.silent(), GroupRuns.SMALL_IDS).train();
  }
}
