package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.testing.SameRuns;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.ppo.rollout.TokenRewardFunction;

/** A run that is interrupted anywhere and continued ends as if it had not been. */
class PpoResumeTest {
  @TempDir Path temporary;
  private Path model;
  private Path prompts;
  private Path held;

  @BeforeEach
  void files() throws IOException {
    model = TinyModel.causalLm(temporary.resolve("model"), 1);
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < 11; i++) {
      rows.add("{\"prompt\": \"Tell me %s\"}".formatted("more ".repeat(i % 3)));
    }
    prompts = Files.write(temporary.resolve("prompts.jsonl"), rows);
    held = Files.write(temporary.resolve("held.jsonl"), rows.subList(0, 4));
  }

  /** Networks that a run is made with. */
  private enum Layout {
    HEAD("num_layers_unfrozen", "1"),
    /** With a reward for each token. */
    DENSE("num_layers_unfrozen", "1"),
    APART("num_layers_unfrozen", "1", "share_trunk", "false"),
    REFERENCE_BRANCH(
        "num_layers_unfrozen",
        "1",
        "value_network",
        "reference_branch",
        "num_value_layers_unfrozen",
        "1"),
    SEPARATE("value_network", "separate", "value_learning_rate", "1e-3"),
    LORA("use_peft", "true", "lora_r", "4"),
    TRLX_HEAD("num_layers_unfrozen", "1", "trlx_compat", "head"),
    /** Moves the weight of the KL by what the roll-out measured, between repeated mini-batches. */
    TRLX_V0_6_0("num_layers_unfrozen", "1", "trlx_compat", "v0.6.0", "adaptive_kl_target", "0.01"),
    TRLX_V0_5_0("num_layers_unfrozen", "1", "trlx_compat", "v0.5.0"),
    HEAD_WITH_LAYERS(
        "num_layers_unfrozen",
        "2",
        "num_value_layers_unfrozen",
        "1",
        "scale_reward",
        "ref",
        "save_best",
        "true");

    private final String[] keys;

    Layout(String... keys) {
      this.keys = keys;
    }
  }

  private ConfigBuilder<PpoConfig> builder(String output, Layout layout, String dtype) {
    ConfigBuilder<PpoConfig> builder =
        Config.of(PpoConfig.class)
            .set("model_name_or_path", model.toString())
            .set("dataset_path", prompts.toString())
            .set("eval_dataset_path", held.toString())
            .set("output_dir", temporary.resolve(output).toString())
            .set("dtype", dtype)
            .set("learning_rate", 5e-3)
            .set("max_length", 64)
            .set("max_new_tokens", 6)
            .set("rollout_batch_size", 8)
            .set("generation_batch_size", 5)
            .set("mini_batch_size", 4)
            .set("per_device_train_batch_size", 2)
            .set("num_ppo_epochs", 2)
            .set("total_episodes", 20)
            .set("scale_reward", "running")
            .set("adaptive_kl_target", 0.1)
            .set("adaptive_kl_horizon", 50)
            .set("eval_steps", 5)
            .set("logging_steps", 1)
            .set("save_steps", 3)
            .set("save_total_limit", 0)
            .set("resume_from_checkpoint", "auto");
    for (int i = 0; i < layout.keys.length; i += 2) {
      builder.set(layout.keys[i], layout.keys[i + 1]);
    }
    return builder;
  }

  /** What ends a run at once, as a kill does. */
  private static final class Killed extends Error {
    private static final long serialVersionUID = 1L;
  }

  /** Where a run is interrupted: while it does this for the n-th time. */
  private enum Place {
    REWARD,
    METRICS
  }

  private record Point(Place place, int at, boolean killed) {}

  // Rows: held-out, the first roll-out, its steps 1 to 4, the second roll-out, step 5, held-out.
  // Rewards of HEAD: held-out, two of a roll-out, two to look at samples alone, two of a roll-out.
  private static final List<List<Point>> ANYWHERE =
      List.of(
          // Inside the epochs, with a checkpoint of that step, and with one of an earlier step.
          List.of(new Point(Place.METRICS, 4, false)),
          List.of(new Point(Place.METRICS, 6, true)),
          // Between roll-outs: drawn and not yet learned from; while it is drawn.
          List.of(new Point(Place.METRICS, 7, false)),
          List.of(new Point(Place.REWARD, 7, true)),
          // In an evaluation.
          List.of(new Point(Place.METRICS, 8, false)));

  /** Inside the epochs; then, continued from step 3, with the second roll-out drawn. */
  private static final List<List<Point>> TWICE =
      List.of(List.of(new Point(Place.METRICS, 6, true), new Point(Place.METRICS, 2, false)));

  /** As the first roll-out ends early; then, continued from there, in the steps on the second. */
  private static final List<List<Point>> STOPPING_EARLY =
      List.of(List.of(new Point(Place.METRICS, 5, false), new Point(Place.METRICS, 4, true)));

  private static final TokenRewardFunction OF_TOKENS =
      completions ->
          completions.stream()
              .map(c -> Arrays.stream(c.ids()).mapToDouble(id -> id < 64 ? 1 : 0).toArray())
              .toArray(double[][]::new);

  private void run(ConfigBuilder<PpoConfig> builder, Layout layout, Point point, StopSignal stop) {
    int[] counts = new int[2];
    Runnable interrupt =
        () -> {
          if (point.killed()) {
            throw new Killed();
          }
          stop.request(ExitCode.TERMINATED);
        };
    Runnable look =
        () -> {
          if (point.place() == Place.REWARD && ++counts[0] == point.at()) {
            interrupt.run();
          }
        };
    RewardFunction ofResponses =
        completions -> {
          look.run();
          return PpoTrainerTest.SMALL_IDS.rewards(completions);
        };
    TokenRewardFunction ofTokens =
        completions -> {
          look.run();
          return OF_TOKENS.tokenRewards(completions);
        };
    Consumer<Map<String, Object>> listener =
        row -> {
          if (point.place() == Place.METRICS && ++counts[1] == point.at()) {
            interrupt.run();
          }
        };
    new PpoTrainer(
            builder.build(),
            new RunContext(Console.silent(), stop, listener::accept, List.of()),
            layout == Layout.DENSE ? ofTokens : ofResponses)
        .train();
  }

  private void train(ConfigBuilder<PpoConfig> builder, Layout layout) {
    RewardFunction reward = layout == Layout.DENSE ? OF_TOKENS : PpoTrainerTest.SMALL_IDS;
    new PpoTrainer(builder.build(), RunContext.silent(), reward).train();
  }

  @ParameterizedTest
  @CsvSource({
    "HEAD, fp32, false",
    "DENSE, fp32, false",
    "APART, fp32, false",
    "REFERENCE_BRANCH, fp32, false",
    "SEPARATE, fp32, false",
    "LORA, fp32, false",
    "LORA, bf16, false",
    "HEAD_WITH_LAYERS, fp32, false",
    "HEAD, bf16, false",
    "REFERENCE_BRANCH, fp32, true",
    "TRLX_HEAD, fp32, false",
    "TRLX_V0_6_0, fp32, false",
    "TRLX_V0_5_0, fp32, false"
  })
  void anInterruptedRunEndsAsIfItHadNotBeen(Layout layout, String dtype, boolean stopsEarly)
      throws IOException {
    assertInterruptible(layout, dtype, stopsEarly);
  }

  @Test
  void soItDoesWhereRowsAreComputedSideBySide() throws IOException {
    try (Torch torch = Torch.open("cpu")) {
      int before = torch.threads();
      torch.setThreads(2);
      try {
        assertInterruptible(Layout.REFERENCE_BRANCH, "fp32", false);
      } finally {
        torch.setThreads(before);
      }
    }
  }

  private void assertInterruptible(Layout layout, String dtype, boolean stopsEarly)
      throws IOException {
    train(early(builder("whole", layout, dtype), stopsEarly), layout);
    Path whole = temporary.resolve("whole");
    assertEquals(
        stopsEarly,
        SameRuns.metrics(whole).stream().anyMatch(row -> row.containsKey("early_stop/steps")));
    List<List<Point>> interruptions = TWICE;
    if (stopsEarly) {
      interruptions = STOPPING_EARLY;
    } else if (layout == Layout.HEAD && dtype.equals("fp32")) {
      interruptions = ANYWHERE;
    }
    for (List<Point> points : interruptions) {
      String output = points.toString().replaceAll("\\W+", "-");
      Path broken = temporary.resolve(output);
      for (Point point : points) {
        StopSignal stop = new StopSignal();
        ConfigBuilder<PpoConfig> builder = early(builder(output, layout, dtype), stopsEarly);
        if (point.killed()) {
          assertThrows(Killed.class, () -> run(builder, layout, point, stop));
        } else {
          run(builder, layout, point, stop);
          assertTrue(stop.requested());
        }
        assertFalse(Files.exists(broken.resolve("config.json")), point.toString());
      }
      train(early(builder(output, layout, dtype), stopsEarly), layout);
      assertEquals(SameRuns.metrics(whole), SameRuns.metrics(broken), output);
      SameRuns.assertSameFile(whole, broken, "value_head.safetensors");
      SameRuns.assertSameFile(
          whole, broken, layout == Layout.LORA ? "adapter_model.safetensors" : "model.safetensors");
      if (!stopsEarly) {
        SameRuns.assertSameFile(whole, broken, "checkpoint-10/optimizer.safetensors");
      }
    }
  }

  private static ConfigBuilder<PpoConfig> early(ConfigBuilder<PpoConfig> builder, boolean stops) {
    return stops ? builder.set("target_kl", 0.05) : builder;
  }
}
