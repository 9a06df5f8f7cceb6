package org.rlhf4j.ppo.group;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.rlhf4j.ppo.group.GroupRuns.column;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Flattened.Default;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.rollout.RolloutConfig;

/** A method that is not the library's, with keys of its own. */
class OwnMethodTest {
  @TempDir Path temporary;
  private GroupRuns runs;

  /** The keys; nobody checks them before the trainer does. */
  record Keys(
      @Flattened({
            @Default(key = "learning_rate", value = "3e-6"),
            @Default(key = "lr_scheduler_type", value = "constant"),
            @Default(key = "max_length", value = "512"),
            @Default(key = "overlong", value = "drop"),
            @Default(key = "append_eos", value = "false")
          })
          TrainingConfig training,
      @Flattened RolloutConfig rollout,
      @Flattened(@Default(key = "beta", value = "0")) GroupConfig group) {}

  @BeforeEach
  void files() throws IOException {
    runs = new GroupRuns(temporary, 4);
  }

  /** GRPO as published, of which a test takes something away. */
  private static class Grpo implements GroupMethod {
    @Override
    public String name() {
      return "own";
    }

    @Override
    public String title() {
      return "A method of one's own";
    }

    @Override
    public boolean comparesLogProbs() {
      return false;
    }

    @Override
    public double[][] advantages(GroupRollout rollout, Map<String, Object> figures) {
      double[][] rewards = rollout.grouped(rollout.scores());
      return rollout.ofTokens(GroupAdvantages.grpo(rewards, GroupScale.GROUP));
    }

    @Override
    public Share loss(Part part) {
      double tokens = part.batch().tokens();
      double[] derivative = new double[part.logProbs().length];
      double loss = 0;
      double ratios = 0;
      for (int t = 0; t < derivative.length; t++) {
        double ratio = Math.exp(part.logProbs()[t] - part.oldLogProbs()[t]);
        double free = part.advantages()[t] * ratio;
        double held = part.advantages()[t] * Math.max(0.8, Math.min(1.2, ratio));
        loss -= Math.min(free, held) / tokens;
        derivative[t] = free <= held ? -free / tokens : 0;
        ratios += ratio / tokens;
      }
      return new Share(loss, derivative, ratios, 0, 0, Map.of());
    }
  }

  private Keys keys(String output, Object... more) {
    ConfigBuilder<Keys> builder = Config.of(Keys.class);
    Config.toMap(runs.builder(GroupRuns.Method.GRPO, output, more).build())
        .forEach(
            (key, value) -> {
              if (!List.of("loss_type", "scale_rewards").contains(key)) {
                builder.set(key, value);
              }
            });
    return builder.build();
  }

  private static GroupTrainer trainer(GroupMethod method, Keys keys) {
    return new GroupTrainer(
        method,
        new GroupTrainer.Keys(keys, keys.training(), keys.rollout(), keys.group()),
        RunContext.silent(),
        GroupRuns.SMALL_IDS);
  }

  private List<Map<String, Object>> train(GroupMethod method, String output, Object... more) {
    return trainer(method, keys(output, more)).train();
  }

  @Test
  void learnsAsTheSameMethodOfTheLibrary() {
    Object[] keys = {"num_iterations", 2, "mini_batch_size", 8, "per_device_train_batch_size", 4};
    List<Double> expected = column(runs.train(GroupRuns.Method.GRPO, "grpo", keys), "loss");
    List<Double> found = column(train(new Grpo(), "own", keys), "loss");
    assertEquals(expected.size(), found.size());
    assertFalse(found.stream().allMatch(loss -> loss == 0));
    for (int i = 0; i < found.size(); i++) {
      assertEquals(expected.get(i), found.get(i), 1e-5);
    }
  }

  @Test
  void keysThatContradictEachOtherAreRefused() {
    Keys keys =
        Config.of(Keys.class)
            .set("model_name_or_path", runs.model().toString())
            .set("dataset_path", runs.prompts().toString())
            .set("output_dir", runs.output("own").toString())
            .set("num_generations", 4)
            .set("mini_batch_size", 6)
            .build();
    RlhfException refused = assertThrows(RlhfException.class, () -> trainer(new Grpo(), keys));
    assertTrue(
        refused.getMessage().startsWith("mini_batch_size 6 does not fill groups"),
        refused.getMessage());
  }

  /** The keys are the same, but what was learned and what stands in the checkpoint is not. */
  @Test
  void anotherMethodDoesNotGoOnWithARun() {
    Object[] keys = {"resume_from_checkpoint", "auto"};
    train(new Grpo(), "own", keys);
    GroupMethod other =
        new Grpo() {
          @Override
          public String name() {
            return "other";
          }
        };
    RlhfException refused = assertThrows(RlhfException.class, () -> train(other, "own", keys));
    assertTrue(
        refused.getMessage().endsWith(" is of a run of own, this is one of other"),
        refused.getMessage());
    Checks checks = new Checks(line -> {});
    trainer(other, keys("own", keys)).check(checks);
    assertEquals(
        refused.getMessage(),
        assertThrows(RlhfException.class, checks::throwProblems).getMessage());
  }

  @Test
  void whatDoesNotFitTheResponsesIsNamed() {
    GroupMethod fewAdvantages =
        new Grpo() {
          @Override
          public double[][] advantages(GroupRollout rollout, Map<String, Object> figures) {
            return Arrays.copyOf(super.advantages(rollout, figures), 3);
          }
        };
    assertEquals(
        "3 advantages, expected 16",
        assertThrows(IllegalArgumentException.class, () -> train(fewAdvantages, "few"))
            .getMessage());
    GroupMethod longDerivative =
        new Grpo() {
          @Override
          public Share loss(Part part) {
            Share share = super.loss(part);
            double[] derivative = Arrays.copyOf(share.derivative(), share.derivative().length + 1);
            return new Share(share.loss(), derivative, share.ratio(), 0, 0, Map.of());
          }
        };
    String message =
        assertThrows(IllegalArgumentException.class, () -> train(longDerivative, "long"))
            .getMessage();
    assertTrue(message.matches("\\d+ derivatives, expected \\d+"), message);
  }
}
