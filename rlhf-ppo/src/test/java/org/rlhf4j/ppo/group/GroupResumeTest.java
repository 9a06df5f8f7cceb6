package org.rlhf4j.ppo.group;

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
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.testing.SameRuns;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.ppo.group.GroupRuns.Method;

/** A run that is interrupted anywhere and continued ends as if it had not been. */
class GroupResumeTest {
  @TempDir Path temporary;
  private GroupRuns runs;

  @BeforeEach
  void files() throws IOException {
    runs = new GroupRuns(temporary, 7);
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

  private Object[] keys(String more) {
    List<Object> keys = new ArrayList<>();
    keys.addAll(List.of("eval_dataset_path", runs.held().toString(), "eval_steps", 5));
    keys.addAll(List.of("rollout_batch_size", 4, "mini_batch_size", 8, "num_iterations", 2));
    keys.addAll(List.of("total_episodes", 40, "generation_batch_size", 8));
    keys.addAll(List.of("save_steps", 3, "save_total_limit", 0));
    keys.addAll(List.of("resume_from_checkpoint", "auto"));
    Arrays.stream(more.split(";")).forEach(pair -> keys.addAll(List.of(pair.split("="))));
    return keys.toArray();
  }

  private void run(Method method, String output, String more, Point point, StopSignal stop) {
    int[] counts = new int[2];
    Runnable interrupt =
        () -> {
          if (point.killed()) {
            throw new Killed();
          }
          stop.request(ExitCode.TERMINATED);
        };
    RewardFunction reward =
        completions -> {
          if (point.place() == Place.REWARD && ++counts[0] == point.at()) {
            interrupt.run();
          }
          return GroupRuns.SMALL_IDS.rewards(completions);
        };
    Consumer<Map<String, Object>> listener =
        row -> {
          if (point.place() == Place.METRICS && ++counts[1] == point.at()) {
            interrupt.run();
          }
        };
    RunContext context = new RunContext(Console.silent(), stop, listener::accept, List.of());
    method.train(runs.builder(method, output, keys(more)).build(), context, reward);
  }

  @ParameterizedTest
  @CsvSource({
    "GRPO, beta=0.05;use_peft=true;lora_r=4",
    "RLOO, beta=0.05;num_layers_unfrozen=1;dtype=bf16",
    "REINFORCE_PP, beta=0.05;num_layers_unfrozen=1"
  })
  void aRunThatIsInterruptedTwiceEndsAsIfItHadNotBeen(Method method, String more)
      throws IOException {
    runs.train(method, "whole", keys(more));
    // Inside the steps of a roll-out; then, continued from step 3, with the second one drawn.
    assertInterruptible(
        method,
        more,
        List.of(new Point(Place.METRICS, 6, true), new Point(Place.METRICS, 2, false)));
  }

  @Test
  void aRunThatIsInterruptedAnywhereEndsAsIfItHadNotBeen() throws IOException {
    String more = "beta=0.05;num_layers_unfrozen=1;per_device_train_batch_size=3";
    // Rows: held-out, the first roll-out, its steps 1 to 4, the second roll-out, step 5, held-out.
    // Rewards: held-out, two of a roll-out, one to look at a sample alone, two of a roll-out.
    List<Point> points =
        List.of(
            // Inside the steps of a roll-out, with a checkpoint of that step and of an earlier one.
            new Point(Place.METRICS, 4, false),
            new Point(Place.METRICS, 6, true),
            // Between roll-outs: drawn and not yet learned from; while it is drawn.
            new Point(Place.METRICS, 7, false),
            new Point(Place.REWARD, 6, true),
            // In an evaluation.
            new Point(Place.METRICS, 8, false));
    runs.train(Method.GRPO, "whole", keys(more));
    for (Point point : points) {
      assertInterruptible(Method.GRPO, more, List.of(point));
    }
  }

  @Test
  void soItDoesWherePartsAreComputedSideBySide() throws IOException {
    String more = "beta=0.05;num_layers_unfrozen=1;per_device_train_batch_size=2";
    try (Torch torch = Torch.open("cpu")) {
      int before = torch.threads();
      torch.setThreads(2);
      try {
        runs.train(Method.GRPO, "whole", keys(more));
        assertInterruptible(
            Method.GRPO,
            more,
            List.of(new Point(Place.METRICS, 4, false), new Point(Place.METRICS, 3, true)));
      } finally {
        torch.setThreads(before);
      }
    }
  }

  /** One step for each roll-out, and no pass but the sampling before it. */
  @Test
  void nothingButSamplesIsKeptOnPolicy() throws IOException {
    String more = "mini_batch_size=16;num_iterations=1;eval_steps=2;save_steps=1;beta=0";
    runs.train(Method.GRPO, "whole", keys(more));
    assertInterruptible(Method.GRPO, more, List.of(new Point(Place.METRICS, 4, false)));
    assertInterruptible(Method.GRPO, more, List.of(new Point(Place.METRICS, 5, true)));
  }

  /** Interrupts a run at each of the points, the next one's rows counted from where it goes on. */
  private void assertInterruptible(Method method, String more, List<Point> points)
      throws IOException {
    Path whole = runs.output("whole");
    String output = points.toString().replaceAll("\\W+", "-");
    Path broken = runs.output(output);
    for (Point point : points) {
      StopSignal stop = new StopSignal();
      if (point.killed()) {
        assertThrows(Killed.class, () -> run(method, output, more, point, stop));
      } else {
        run(method, output, more, point, stop);
        assertTrue(stop.requested());
      }
      assertFalse(Files.exists(broken.resolve("config.json")), point.toString());
    }
    runs.train(method, output, keys(more));
    assertEquals(SameRuns.metrics(whole), SameRuns.metrics(broken), output);
    boolean lora = more.contains("use_peft");
    SameRuns.assertSameFile(
        whole, broken, lora ? "adapter_model.safetensors" : "model.safetensors");
  }

  @Test
  void anotherMethodsSettingsAreRefused() {
    runs.train(Method.GRPO, "out", keys("max_steps=3"));
    RlhfException refused =
        assertThrows(
            RlhfException.class,
            () -> runs.train(Method.GRPO, "out", keys("max_steps=3;loss_type=grpo")));
    assertEquals(ExitCode.CONFIG, refused.exitCode());
    assertTrue(refused.getMessage().contains("loss_type"), refused.getMessage());
  }

  @Test
  void theBestModelIsKept() throws IOException {
    List<Map<String, Object>> metrics =
        runs.train(Method.RLOO, "out", keys("save_best=true;eval_steps=1;num_iterations=1"));
    double best = -1;
    int at = -1;
    for (Map<String, Object> row : metrics) {
      if (row.containsKey("eval_reward")
          && ((Number) row.get("eval_reward")).doubleValue() > best) {
        best = ((Number) row.get("eval_reward")).doubleValue();
        at = ((Number) row.get("step")).intValue();
      }
    }
    runs.train(Method.RLOO, "again", keys("save_steps=1;eval_steps=1;num_iterations=1"));
    Path folder = at == 0 ? runs.model() : runs.output("again").resolve("checkpoint-" + at);
    SameRuns.assertSameFile(folder, runs.output("out"), "model.safetensors");
  }
}
