package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;

class PpoTrainerTest {
  /** Share of the tokens below 64, which a model that knows nothing draws a quarter of. */
  private static final RewardFunction SMALL_IDS =
      completions ->
          completions.stream()
              .mapToDouble(
                  c ->
                      Arrays.stream(c.ids()).filter(id -> id < 64).count()
                          / (double) c.ids().length)
              .toArray();

  @TempDir Path temporary;
  private Path model;
  private Path prompts;
  private Path held;

  @BeforeEach
  void files() throws IOException {
    model = TinyModel.causalLm(temporary.resolve("model"), 1);
    prompts = temporary.resolve("prompts.jsonl");
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < 64; i++) {
      rows.add("{\"prompt\": \"Tell me %s\"}".formatted("more ".repeat(i % 3)));
    }
    Files.write(prompts, rows);
    held = Files.write(temporary.resolve("held.jsonl"), rows.subList(0, 16));
  }

  private ConfigBuilder<PpoConfig> builder(String output) {
    return Config.of(PpoConfig.class)
        .set("model_name_or_path", model.toString())
        .set("dataset_path", prompts.toString())
        .set("output_dir", temporary.resolve(output).toString())
        .set("dtype", "fp32")
        .set("learning_rate", 1e-2)
        .set("max_length", 64)
        .set("max_new_tokens", 8)
        .set("rollout_batch_size", 32)
        .set("mini_batch_size", 16)
        .set("num_ppo_epochs", 2)
        .set("logging_steps", 1);
  }

  private static List<Map<String, Object>> train(
      ConfigBuilder<PpoConfig> builder, RewardFunction reward) {
    return new PpoTrainer(builder.build(), RunContext.silent(), reward).train();
  }

  private static List<Double> column(List<Map<String, Object>> rows, String name) {
    return rows.stream()
        .filter(row -> row.containsKey(name))
        .map(row -> ((Number) row.get(name)).doubleValue())
        .toList();
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3})
  void aRewardOfOnesOwnRises(long seed) {
    List<Map<String, Object>> metrics =
        train(
            builder("out")
                .set("eval_dataset_path", held.toString())
                .set("seed", seed)
                .set("total_episodes", 64 * 12)
                .set("rollout_batch_size", 64)
                .set("mini_batch_size", 64)
                .set("per_device_train_batch_size", 64)
                .set("num_ppo_epochs", 4)
                .set("learning_rate", 5e-3)
                .set("max_new_tokens", 4)
                .set("kl_coef", 0.01),
            SMALL_IDS);
    System.out.println(
        column(metrics, "objective/scores")
            + " "
            + column(metrics, "objective/kl")
            + " "
            + column(metrics, "eval_objective/scores"));
    List<Double> scores = column(metrics, "objective/scores");
    List<Double> heldOut = column(metrics, "eval_objective/scores");
    assertEquals(12, scores.size());
    assertTrue(scores.get(11) > scores.get(0) + 0.3, scores.toString());
    assertTrue(heldOut.get(heldOut.size() - 1) > heldOut.get(0) + 0.3, heldOut.toString());
  }
}
