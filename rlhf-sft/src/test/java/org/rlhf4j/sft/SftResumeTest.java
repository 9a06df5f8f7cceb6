package org.rlhf4j.sft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.testing.SameRuns;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;

/** A run that ends early and goes on is the run that never ended. */
class SftResumeTest {
  @TempDir Path temporary;
  private Path model;
  private Path train;
  private Path held;

  @BeforeEach
  void files() throws IOException {
    model = TinyModel.causalLm(temporary.resolve("model"), 1);
    train = Files.write(temporary.resolve("train.jsonl"), rows(40, 3));
    held = Files.write(temporary.resolve("held.jsonl"), rows(5, 4));
  }

  private static List<String> rows(int count, long seed) {
    Random random = new Random(seed);
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      rows.add(
          "{\"prompt\": \"%s\", \"completion\": \"%s\"}"
              .formatted(
                  "count ".repeat(1 + random.nextInt(3)), "a".repeat(1 + random.nextInt(20))));
    }
    return rows;
  }

  private ConfigBuilder<SftConfig> builder(String output, String dtype, boolean packing) {
    return Config.of(SftConfig.class)
        .set("model_name_or_path", model.toString())
        .set("dataset_path", train.toString())
        .set("eval_dataset_path", held.toString())
        .set("output_dir", temporary.resolve(output).toString())
        .set("dtype", dtype)
        .set("packing", packing)
        .set("max_length", 64)
        .set("learning_rate", 1e-2)
        .set("weight_decay", 0.1)
        .set("warmup_steps", 2)
        .set("per_device_train_batch_size", 2)
        .set("gradient_accumulation_steps", 2)
        .set("eval_steps", 5)
        .set("logging_steps", 3)
        .set("save_steps", 4)
        .set("max_steps", 8);
  }

  private static void train(ConfigBuilder<SftConfig> builder) {
    new SftTrainer(builder.build(), RunContext.silent()).train();
  }

  /** How a run ends early. */
  enum End {
    STOPPED,
    CRASHED
  }

  @ParameterizedTest
  @CsvSource({
    "fp32,true,STOPPED",
    "bf16,true,STOPPED",
    "fp32,true,CRASHED",
    "bf16,true,CRASHED",
    "bf16,false,STOPPED"
  })
  void aResumedRunIsTheUninterruptedOneBitForBit(String dtype, boolean packing, End end)
      throws IOException {
    train(builder("whole", dtype, packing));
    Path whole = temporary.resolve("whole");

    StopSignal stop = new StopSignal();
    RunContext interrupted =
        new RunContext(
            Console.silent(),
            stop,
            row -> {
              // An evaluation row, between two rows of training metrics.
              if (row.get(MetricNames.STEP).equals(5L)) {
                if (end == End.CRASHED) {
                  throw new IllegalStateException("power cut");
                }
                stop.request(ExitCode.TERMINATED);
              }
            },
            List.of());
    SftTrainer trainer = new SftTrainer(builder("cut", dtype, packing).build(), interrupted);
    Path cut = temporary.resolve("cut");
    if (end == End.CRASHED) {
      assertThrows(IllegalStateException.class, trainer::train);
      assertTrue(Files.exists(cut.resolve("checkpoint-4")));
    } else {
      trainer.train();
      assertTrue(Files.exists(cut.resolve("checkpoint-5")));
    }
    assertFalse(Files.exists(cut.resolve("model.safetensors")));

    train(builder("cut", dtype, packing).set("resume_from_checkpoint", "auto"));
    SameRuns.assertSame(whole, cut);
    for (String name : List.of("optimizer.safetensors", "model.safetensors", "config.json")) {
      SameRuns.assertSameFile(whole.resolve("checkpoint-8"), cut.resolve("checkpoint-8"), name);
    }
  }

  @Test
  void theTokenizerStaysWithTheModelWhenTheCheckpointItCameFromIsGone() throws IOException {
    StopSignal stop = new StopSignal();
    RunContext interrupted =
        new RunContext(Console.silent(), stop, row -> stop.request(ExitCode.TERMINATED), List.of());
    new SftTrainer(builder("cut", "fp32", false).build(), interrupted).train();
    train(
        builder("cut", "fp32", false)
            .set("save_steps", 1)
            .set("save_total_limit", 1)
            .set("resume_from_checkpoint", "auto"));
    Path cut = temporary.resolve("cut");
    SameRuns.assertSameFile(model, cut, "tokenizer.json");
    SameRuns.assertSameFile(model, cut.resolve("checkpoint-8"), "tokenizer.json");
  }

  /** Rows of metrics at step 5, where {@code save_steps} writes no checkpoint. */
  private ConfigBuilder<SftConfig> evaluatedAtFive(String output) {
    return builder(output, "fp32", false).set("logging_steps", 5).set("save_best", true);
  }

  @Test
  void aStopBreaksAnEvaluationOffAndTheRunGoesOnWithIt() throws IOException {
    train(evaluatedAtFive("whole"));
    Path cut = temporary.resolve("cut");
    // Before the first step: the banner is shown just before the first evaluation.
    StopSignal atStart = new StopSignal();
    PrintStream screen =
        new PrintStream(
            new OutputStream() {
              @Override
              public void write(int one) {
                atStart.request(ExitCode.TERMINATED);
              }
            });
    RunContext first = new RunContext(Console.plain(screen, 80), atStart, row -> {}, List.of());
    new SftTrainer(evaluatedAtFive("cut").build(), first).train();
    assertTrue(Files.exists(cut.resolve("checkpoint-0/model.safetensors")));
    assertEquals(List.of(), SameRuns.metrics(cut));

    // After the fifth step, whose training row stands before its evaluation.
    StopSignal atFive = new StopSignal();
    RunContext second =
        new RunContext(
            Console.silent(),
            atFive,
            row -> {
              if (row.get(MetricNames.STEP).equals(5L)) {
                atFive.request(ExitCode.TERMINATED);
              }
            },
            List.of());
    new SftTrainer(evaluatedAtFive("cut").set("resume_from_checkpoint", "auto").build(), second)
        .train();
    assertTrue(Files.exists(cut.resolve("checkpoint-5/model.safetensors")));
    assertEquals(2, SameRuns.metrics(cut).size());
    assertFalse(SameRuns.metrics(cut).get(1).containsKey("eval_loss"));

    train(evaluatedAtFive("cut").set("resume_from_checkpoint", "auto"));
    SameRuns.assertSame(temporary.resolve("whole"), cut);
    SameRuns.assertSameFile(temporary.resolve("whole"), cut, "best/evaluation.json");
  }

  @Test
  void aStopWhileRowsAreReadLeavesNothing() throws IOException {
    StopSignal stop = new StopSignal();
    stop.request(ExitCode.TERMINATED);
    RunContext context = new RunContext(Console.silent(), stop, row -> {}, List.of());
    assertEquals(List.of(), new SftTrainer(builder("cut", "fp32", false).build(), context).train());
    try (var files = Files.list(temporary.resolve("cut"))) {
      assertEquals(List.of(), files.toList());
    }
  }

  @Test
  void aCrashBetweenTheBestModelAndTheCheckpointChangesNothing() throws IOException {
    train(builder("whole", "fp32", false).set("save_best", true));
    RunContext crashing =
        new RunContext(
            Console.silent(),
            new StopSignal(),
            row -> {
              if (row.get(MetricNames.STEP).equals(6L)) {
                throw new IllegalStateException("power cut");
              }
            },
            List.of());
    SftTrainer trainer =
        new SftTrainer(builder("cut", "fp32", false).set("save_best", true).build(), crashing);
    assertThrows(IllegalStateException.class, trainer::train);
    Path cut = temporary.resolve("cut");
    assertTrue(Files.readString(cut.resolve("best/evaluation.json")).contains("\"step\":5"));
    assertFalse(Files.exists(cut.resolve("checkpoint-5")));
    train(
        builder("cut", "fp32", false).set("save_best", true).set("resume_from_checkpoint", "auto"));
    SameRuns.assertSame(temporary.resolve("whole"), cut);
  }

  @Test
  void otherThreadsOnResumeAreNeverSilent() {
    StopSignal stop = new StopSignal();
    RunContext interrupted =
        new RunContext(Console.silent(), stop, row -> stop.request(ExitCode.TERMINATED), List.of());
    new SftTrainer(builder("cut", "fp32", false).build(), interrupted).train();
    String property = "ai.djl.pytorch.num_threads";
    String before = System.getProperty(property);
    try (Torch torch = Torch.open("cpu")) {
      int threads = torch.threads();
      ConfigBuilder<SftConfig> resumed =
          builder("cut", "fp32", false).set("resume_from_checkpoint", "auto");
      try {
        torch.setThreads(threads + 1);
        System.setProperty(property, Integer.toString(threads + 1));
        RlhfException refused = assertThrows(RlhfException.class, () -> train(resumed));
        assertEquals(ExitCode.CONFIG, refused.exitCode());
        String line =
            "threads: the run was started with %d, it cannot go on with %d"
                .formatted(threads, threads + 1);
        assertTrue(refused.getMessage().startsWith(line), refused.getMessage());

        // Nobody asked for them: the machine's own number gives way, which is said.
        System.clearProperty(property);
        ByteArrayOutputStream screen = new ByteArrayOutputStream();
        Console console = Console.plain(new PrintStream(screen, true, StandardCharsets.UTF_8), 120);
        new SftTrainer(
                resumed.build(), new RunContext(console, new StopSignal(), row -> {}, List.of()))
            .train();
        String said = "computing with %d threads, as the run was started".formatted(threads);
        String shown = screen.toString(StandardCharsets.UTF_8);
        assertTrue(shown.contains(said), shown);
      } finally {
        torch.setThreads(threads);
        if (before != null) {
          System.setProperty(property, before);
        }
      }
    }
  }
}
