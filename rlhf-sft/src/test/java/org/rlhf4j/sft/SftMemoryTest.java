package org.rlhf4j.sft;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.LrSchedulerType;
import org.rlhf4j.core.data.PackedRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.SystemStats;
import org.rlhf4j.core.testing.NativeMemory;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.AdamW;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.LanguageModelStep;
import org.rlhf4j.core.train.LearningRateSchedule;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TokenLoss;

/** A long run must not grow: tensors live outside the Java heap, where nothing collects them. */
class SftMemoryTest {
  private static final double MIB = 1024 * 1024;

  /** What compiled code and caches may still take; 150 steps of leaked gradients take 17 MiB. */
  private static final double ALLOWED_MIB = 8;

  @Test
  void stepsLeaveNoTensorBehind(@TempDir Path temporary) throws IOException {
    ModelFolder start = ModelFolder.open(TinyModel.causalLm(temporary.resolve("m"), 1));
    try (Torch torch = Torch.open("cpu");
        CausalLm model =
            ModelLoader.causalLm(torch, start, new ModelLoader.Options(ElementType.FP32, true));
        Optimization optimization =
            new Optimization(
                torch,
                model.weights(),
                new AdamW.Settings(0.9, 0.999, 1e-8, 0),
                new LearningRateSchedule(LrSchedulerType.CONSTANT, 1e-4, 0, 200, 0),
                1)) {
      TokenLoss loss = TokenLoss.meanOverTargets();
      LanguageModelStep plain = new LanguageModelStep(model, optimization, loss, false);
      LanguageModelStep checkpointing = new LanguageModelStep(model, optimization, loss, true);
      NativeMemory.assertStays(
          torch,
          ALLOWED_MIB,
          number -> {
            List<PackedRow> rows =
                List.of(new PackedRow(List.of(TokenRow.allTargets(new int[] {1, 2, number}))));
            (number % 2 == 0 ? plain : checkpointing).run(List.of(rows, rows));
            LanguageModelStep.evaluate(model, rows, 4);
          });
    }
  }

  /**
   * Ends as soon as 150 steps took little. The virtual machine itself may still grow for a while,
   * the longer the slower the machine; a leak takes as much of any 150 steps.
   */
  @Test
  void stepsOfARunKeepTheirNativeMemory(@TempDir Path temporary) throws IOException {
    assumeTrue(SystemStats.now().residentBytes() != null, "no resident set on this system");
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < 64; i++) {
      rows.add(
          "{\"prompt\": \"%s\", \"completion\": \"%s\"}"
              .formatted("count ".repeat(1 + i % 3), "a".repeat(1 + i % 37)));
    }
    TreeMap<Long, Double> resident = new TreeMap<>();
    StopSignal settled = new StopSignal();
    RunContext measuring =
        new RunContext(
            Console.silent(),
            settled,
            row -> {
              System.gc();
              long step = ((Number) row.get(MetricNames.STEP)).longValue();
              double now = SystemStats.now().residentBytes() / MIB;
              resident.put(step, now);
              if (step >= 200 && now - resident.get(step - 150) < ALLOWED_MIB) {
                settled.request(ExitCode.TERMINATED);
              }
            },
            List.of());
    new SftTrainer(
            Config.of(SftConfig.class)
                .set("model_name_or_path", TinyModel.causalLm(temporary.resolve("m"), 1).toString())
                .set("dataset_path", Files.write(temporary.resolve("rows"), rows).toString())
                .set("output_dir", temporary.resolve("out").toString())
                .set("dtype", "fp32")
                .set("packing", true)
                .set("max_length", 64)
                .set("max_steps", 800)
                .set("logging_steps", 50)
                .set("save_strategy", "no")
                .build(),
            measuring)
        .train();
    assertTrue(settled.requested(), resident.toString());
  }
}
