package org.rlhf4j.sft;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
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
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.testing.SameRuns;
import org.rlhf4j.core.testing.TinyModel;
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
}
