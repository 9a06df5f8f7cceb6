package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.testing.SameRuns;

/** Processes that are killed at any moment and started again do what an undisturbed one does. */
@Timeout(300)
class KilledRunTest {
  private static final int KILLED = 128 + 9;
  private static final int TERMINATED = 128 + 15;
  private static final int LONGEST_DELAY_MILLIS = 20;
  private static final String UNFINISHED = ".rlhf4j-partial-";

  @TempDir Path temporary;
  private final Random delays = new Random(5);
  private TinyRuns tiny;
  private Path log;

  @BeforeEach
  void files() throws IOException {
    tiny = new TinyRuns(temporary);
    log = temporary.resolve("log.txt");
  }

  /** What a run has come to when it is stopped. */
  @FunctionalInterface
  private interface Moment {
    boolean reached() throws IOException;
  }

  private Process start(List<String> words) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"));
    command.add("-Dai.djl.offline=true");
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
    command.addAll(words);
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().put("OMP_NUM_THREADS", "1");
    return builder.redirectOutput(log.toFile()).start();
  }

  private void finish(List<String> words) throws IOException, InterruptedException {
    assertEquals(0, start(words).waitFor(), () -> output());
  }

  private String output() {
    try {
      return Files.readString(log);
    } catch (IOException e) {
      return e.toString();
    }
  }

  /** Kills a run a random while after a moment, and requires that it had not ended by itself. */
  private void killAt(List<String> words, Moment moment) throws IOException, InterruptedException {
    Process process = waitFor(words, moment);
    Thread.sleep(delays.nextInt(LONGEST_DELAY_MILLIS));
    process.destroyForcibly();
    assertEquals(KILLED, process.waitFor(), () -> output());
  }

  private Process waitFor(List<String> words, Moment moment)
      throws IOException, InterruptedException {
    Process process = start(words);
    while (!moment.reached()) {
      assertTrue(process.isAlive(), () -> output());
      TimeUnit.MICROSECONDS.sleep(200);
    }
    return process;
  }

  private static long metricRows(Path output) throws IOException {
    Path file = output.resolve("metrics.jsonl");
    if (!Files.exists(file)) {
      return 0;
    }
    try (var lines = Files.lines(file)) {
      return lines.count();
    }
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
    finish(tiny.train("sft", whole, keys));

    Path cut = temporary.resolve("cut");
    List<String> words = tiny.train("sft", cut, keys);
    killAt(words, () -> Files.exists(cut));
    assertFalse(Files.exists(cut.resolve("checkpoint-3")));
    // Evaluated and stepping, somewhere in the micro-batches before the first checkpoint.
    killAt(words, () -> metricRows(cut) >= 2);
    killAt(words, () -> Files.exists(cut.resolve(UNFINISHED + "checkpoint-21")));
    finish(words);
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
    finish(tiny.train("reward", whole, keys));

    Path cut = temporary.resolve("cut");
    List<String> words = tiny.train("reward", cut, keys);
    killAt(words, () -> Files.exists(cut.resolve(UNFINISHED + "checkpoint-6")));
    Process process = waitFor(words, () -> metricRows(cut) >= 12);
    process.destroy();
    assertEquals(TERMINATED, process.waitFor(), () -> output());
    assertTrue(output().contains("Stopping: "), output());
    assertFalse(Files.exists(cut.resolve("model.safetensors")));
    assertSavedAtItsLastStep(cut);
    finish(words);
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
    finish(tiny.train("raft", whole, keys));

    Path cut = temporary.resolve("cut");
    List<String> words = tiny.train("raft", cut, keys);
    Path iterations = cut.resolve("iterations");
    // Held-out responses are being drawn.
    killAt(words, () -> Files.exists(cut.resolve("metrics.jsonl")));
    // Responses are there, and are being scored.
    killAt(words, () -> Files.exists(iterations.resolve("iteration-1/samples.jsonl")));
    // The rows of the second iteration are being trained on.
    killAt(words, () -> Files.exists(iterations.resolve("iteration-2/selected.jsonl")));
    finish(words);
    SameRuns.assertSame(whole, cut);
    for (int i = 1; i <= 3; i++) {
      SameRuns.assertSameFile(whole, cut, "iterations/iteration-" + i + "/samples.jsonl");
    }
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
      "--adaptive_kl_target",
      "0.5",
      "--scale_reward",
      "running"
    };
    Path whole = temporary.resolve("whole");
    finish(tiny.train("ppo", whole, keys));

    Path cut = temporary.resolve("cut");
    List<String> words = tiny.train("ppo", cut, keys);
    // Held-out responses are being drawn.
    killAt(words, () -> Files.exists(cut.resolve("metrics.jsonl")));
    // Inside the epochs of the first roll-out: 8 steps on each.
    killAt(words, () -> Files.exists(cut.resolve(UNFINISHED + "checkpoint-5")));
    // The second roll-out is being drawn, or learned from.
    killAt(words, () -> metricRows(cut) >= 10);
    killAt(words, () -> Files.exists(cut.resolve("checkpoint-15")));
    finish(words);
    SameRuns.assertSame(whole, cut);
    SameRuns.assertSameFile(whole, cut, "value_head.safetensors");
    SameRuns.assertSameFile(whole, cut, "checkpoint-20/optimizer.safetensors");
    SameRuns.assertSameFile(whole, cut, "checkpoint-20/rollout.jsonl");
  }
}
