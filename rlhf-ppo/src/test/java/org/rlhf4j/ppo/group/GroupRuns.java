package org.rlhf4j.ppo.group;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;

/** Small runs of the group methods. */
public final class GroupRuns {
  /** Share of the tokens below 64, which a model that knows nothing draws a quarter of. */
  public static final RewardFunction SMALL_IDS =
      completions -> completions.stream().mapToDouble(c -> smallIds(c.ids())).toArray();

  private final Path folder;
  private final Path model;
  private final Path prompts;
  private final Path held;

  /** A model and prompts in a folder. */
  public GroupRuns(Path folder, int rows) throws IOException {
    this.folder = folder;
    model = TinyModel.causalLm(folder.resolve("model"), 1);
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < rows; i++) {
      lines.add("{\"prompt\": \"Tell me %s\"}".formatted("more ".repeat(i % 3)));
    }
    prompts = Files.write(folder.resolve("prompts.jsonl"), lines);
    held = Files.write(folder.resolve("held.jsonl"), lines.subList(0, 4));
  }

  public static double smallIds(int[] ids) {
    return Arrays.stream(ids).filter(id -> id < 64).count() / (double) ids.length;
  }

  public Path model() {
    return model;
  }

  public Path prompts() {
    return prompts;
  }

  public Path held() {
    return held;
  }

  public Path output(String name) {
    return folder.resolve(name);
  }

  /** The methods. */
  public enum Method {
    GRPO(GrpoConfig.class),
    RLOO(RlooConfig.class),
    REINFORCE_PP(ReinforcePlusPlusConfig.class);

    private final Class<? extends Record> config;

    Method(Class<? extends Record> config) {
      this.config = config;
    }

    /** Trains with a configuration of this method. */
    List<Map<String, Object>> train(Record config, RunContext context, RewardFunction reward) {
      return switch (this) {
        case GRPO -> new GrpoTrainer((GrpoConfig) config, context, reward).train();
        case RLOO -> new RlooTrainer((RlooConfig) config, context, reward).train();
        case REINFORCE_PP ->
            new ReinforcePlusPlusTrainer((ReinforcePlusPlusConfig) config, context, reward).train();
      };
    }
  }

  /**
   * The keys of a run of two roll-outs, each of four groups of four responses.
   *
   * @param more keys and values
   */
  public ConfigBuilder<? extends Record> builder(Method method, String output, Object... more) {
    ConfigBuilder<? extends Record> builder =
        Config.of(method.config)
            .set("model_name_or_path", model.toString())
            .set("dataset_path", prompts.toString())
            .set("output_dir", output(output).toString())
            .set("dtype", "fp32")
            .set("learning_rate", 5e-3)
            .set("max_length", 64)
            .set("max_new_tokens", 5)
            .set("rollout_batch_size", 4)
            .set("num_generations", 4)
            .set("per_device_train_batch_size", 16)
            .set("total_episodes", 32)
            .set("logging_steps", 1);
    for (int i = 0; i < more.length; i += 2) {
      builder.set((String) more[i], more[i + 1]);
    }
    return builder;
  }

  /** Runs with {@link #SMALL_IDS} as the reward. */
  List<Map<String, Object>> train(Method method, String output, Object... more) {
    return method.train(builder(method, output, more).build(), RunContext.silent(), SMALL_IDS);
  }

  /** Trains, and hands out the policy before anything is computed. */
  public static List<Map<String, Object>> train(
      GrpoConfig config, RunContext context, RewardFunction reward, Consumer<CausalLm> watcher) {
    GroupTrainer trainer = new GrpoTrainer(config, context, reward).trainer();
    trainer.watch(networks -> watcher.accept(networks.policy()));
    return trainer.train();
  }

  /** A metric's values over the rows that have it. */
  public static List<Double> column(List<Map<String, Object>> rows, String name) {
    return rows.stream()
        .filter(row -> row.containsKey(name))
        .map(row -> ((Number) row.get(name)).doubleValue())
        .toList();
  }
}
