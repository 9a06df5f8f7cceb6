package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.testing.SameRuns;

/** {@link KilledRunTest} for the methods that learn from roll-outs. */
@Timeout(300)
class KilledOnlineRunTest {
  @TempDir Path temporary;
  private TinyRuns tiny;
  private KilledRuns runs;

  @BeforeEach
  void files() throws IOException {
    tiny = new TinyRuns(temporary);
    runs = new KilledRuns(temporary);
  }

  @Test
  void ppo() throws IOException, InterruptedException {
    String[] keys = {
      "--logging_steps",
      "1",
      "--save_steps",
      "5",
      "--save_total_limit",
      "0",
      "--resume_from_checkpoint",
      "auto",
      "--eval_dataset_path",
      tiny.prompts.toString(),
      "--eval_steps",
      "11",
      "--value_network",
      "reference_branch",
      "--num_value_layers_unfrozen",
      "1",
      "--adaptive_kl_target",
      "0.5",
      "--scale_reward",
      "running"
    };
    Path whole = temporary.resolve("whole");
    KilledRuns.whole(tiny.train("ppo", whole, keys));

    Path cut = temporary.resolve("cut");
    List<String> words = tiny.train("ppo", cut, keys);
    // Inside the epochs of the first roll-out: 8 steps on each.
    runs.killAt(words, () -> KilledRuns.isOptimizerTorn(cut, 5));
    // The second roll-out is being drawn, or learned from.
    runs.killAt(words, () -> KilledRuns.metricRows(cut) >= 10);
    assertTrue(Files.exists(cut.resolve("checkpoint-5")));
    KilledRuns.tearLastRow(cut);
    runs.killAt(words, () -> Files.exists(cut.resolve("checkpoint-15")));
    runs.finish(words);
    SameRuns.assertSame(whole, cut);
    SameRuns.assertSameFile(whole, cut, "value_head.safetensors");
    SameRuns.assertSameFile(whole, cut, "checkpoint-20/optimizer.safetensors");
    SameRuns.assertSameFile(whole, cut, "checkpoint-20/rollout.jsonl");
  }

  @ParameterizedTest
  @ValueSource(strings = {"grpo", "rloo"})
  void groups(String verb) throws IOException, InterruptedException {
    String[] keys = {
      "--logging_steps",
      "1",
      "--save_steps",
      "3",
      "--save_total_limit",
      "0",
      "--resume_from_checkpoint",
      "auto",
      "--eval_dataset_path",
      tiny.prompts.toString(),
      "--eval_steps",
      "5",
      "--num_iterations",
      "2",
      "--beta",
      "0.05"
    };
    Path whole = temporary.resolve("whole");
    KilledRuns.whole(tiny.train(verb, whole, keys));

    Path cut = temporary.resolve("cut");
    List<String> words = tiny.train(verb, cut, keys);
    // Inside the steps of the first roll-out: 4 on each.
    runs.killAt(words, () -> KilledRuns.isUnnamed(cut, 3));
    // The second roll-out is being learned from.
    runs.killAt(words, () -> Files.exists(cut.resolve("checkpoint-6")));
    runs.finish(words);
    SameRuns.assertSame(whole, cut);
    SameRuns.assertSameFile(whole, cut, "checkpoint-9/optimizer.safetensors");
    SameRuns.assertSameFile(whole, cut, "checkpoint-9/rollout.jsonl");
  }
}
