package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.testing.SameRuns;

/** Processes that are killed at any moment and started again do what an undisturbed one does. */
@Timeout(300)
class KilledRunTest {
  @TempDir Path temporary;
  private TinyRuns tiny;
  private KilledRuns runs;

  @BeforeEach
  void files() throws IOException {
    tiny = new TinyRuns(temporary);
    runs = new KilledRuns(temporary);
  }

  /** Every step has a row of metrics here, so the last row tells the last step. */
  private static void assertSavedAtItsLastStep(Path output) throws IOException {
    List<Map<String, Object>> rows = SameRuns.metrics(output);
    Object step = rows.get(rows.size() - 1).get("step");
    assertTrue(Files.exists(output.resolve("checkpoint-" + step + "/model.safetensors")));
  }

  @Test
  void sftInBf16() throws IOException, InterruptedException {
    String[] keys = {
      "--dtype",
      "bf16",
      "--save_dtype",
      "fp32",
      "--packing",
      "true",
      "--max_length",
      "48",
      "--gradient_accumulation_steps",
      "3",
      "--logging_steps",
      "1",
      "--save_steps",
      "3",
      "--eval_dataset_path",
      tiny.rows.toString(),
      "--eval_steps",
      "4",
      "--resume_from_checkpoint",
      "auto",
      "--max_steps",
      "40"
    };
    Path whole = temporary.resolve("whole");
    KilledRuns.whole(tiny.train("sft", whole, keys));

    Path cut = temporary.resolve("cut");
    List<String> words = tiny.train("sft", cut, keys);
    runs.killAt(words, () -> Files.exists(cut));
    assertFalse(Files.exists(cut.resolve("checkpoint-3")));
    // Evaluated and stepping, somewhere in the micro-batches before the first checkpoint.
    runs.killAt(words, () -> KilledRuns.metricRows(cut) >= 2);
    // The oldest checkpoint of three goes.
    runs.killAt(words, () -> KilledRuns.isHalfDeleted(cut, 15, 21));
    runs.finish(words);
    assertFalse(Files.exists(KilledRuns.unfinished(cut, 15)));
    SameRuns.assertSame(whole, cut);
    SameRuns.assertSameFile(whole, cut, "checkpoint-39/optimizer.safetensors");
  }

  @Test
  void rewardWithSigterm() throws IOException, InterruptedException {
    String[] keys = {
      "--gradient_accumulation_steps",
      "2",
      "--logging_steps",
      "1",
      "--save_steps",
      "3",
      "--eval_dataset_path",
      tiny.pairs.toString(),
      "--eval_steps",
      "5",
      "--resume_from_checkpoint",
      "auto",
      "--max_steps",
      "30"
    };
    Path whole = temporary.resolve("whole");
    KilledRuns.whole(tiny.train("reward", whole, keys));

    Path cut = temporary.resolve("cut");
    List<String> words = tiny.train("reward", cut, keys);
    runs.killAt(words, () -> KilledRuns.isUnnamed(cut, 6));
    runs.terminateAt(words, () -> KilledRuns.metricRows(cut) >= 12);
    assertFalse(Files.exists(cut.resolve("model.safetensors")));
    assertSavedAtItsLastStep(cut);
    runs.finish(words);
    SameRuns.assertSame(whole, cut);
    SameRuns.assertSameFile(whole, cut, "reward_stats.json");
  }

  @Test
  void raft() throws IOException, InterruptedException {
    String[] keys = {
      "--logging_steps",
      "1",
      "--save_steps",
      "5",
      "--resume_from_checkpoint",
      "auto",
      "--eval_dataset_path",
      tiny.prompts.toString(),
      "--max_new_tokens",
      "32"
    };
    Path whole = temporary.resolve("whole");
    KilledRuns.whole(tiny.train("raft", whole, keys));

    Path cut = temporary.resolve("cut");
    List<String> words = tiny.train("raft", cut, keys);
    Path iterations = cut.resolve("iterations");
    // Held-out responses are being drawn.
    runs.killAt(words, () -> Files.exists(cut.resolve("metrics.jsonl")));
    // Responses are there, and are being scored.
    runs.killAt(words, () -> Files.exists(iterations.resolve("iteration-1/samples.jsonl")));
    // The rows of the second iteration are being trained on.
    runs.killAt(words, () -> Files.exists(iterations.resolve("iteration-2/selected.jsonl")));
    runs.finish(words);
    SameRuns.assertSame(whole, cut);
    for (int i = 1; i <= 3; i++) {
      SameRuns.assertSameFile(whole, cut, "iterations/iteration-" + i + "/samples.jsonl");
    }
  }
}
