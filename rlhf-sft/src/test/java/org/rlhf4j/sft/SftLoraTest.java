package org.rlhf4j.sft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
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
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.testing.SameRuns;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;

/** A run that trains adapters: what it leaves, how it goes on, and what it refuses. */
class SftLoraTest {
  private static final String ADAPTER = "adapter_model.safetensors";

  @TempDir Path temporary;
  private Path model;
  private Path train;

  @BeforeEach
  void files() throws IOException {
    model = TinyModel.causalLm(temporary.resolve("model"), 1);
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < 24; i++) {
      rows.add(
          "{\"prompt\": \"%d count\", \"completion\": \"%s\"}".formatted(i, "a".repeat(i % 7 + 1)));
    }
    train = Files.write(temporary.resolve("train.jsonl"), rows);
  }

  private ConfigBuilder<SftConfig> builder(Path start, String output) {
    return Config.of(SftConfig.class)
        .set("model_name_or_path", start.toString())
        .set("dataset_path", train.toString())
        .set("output_dir", temporary.resolve(output).toString())
        .set("dtype", "fp32")
        .set("max_length", 64)
        .set("learning_rate", 1e-2)
        .set("per_device_train_batch_size", 2)
        .set("gradient_accumulation_steps", 2)
        .set("logging_steps", 2)
        .set("save_steps", 3)
        .set("max_steps", 6)
        .set("use_peft", true)
        .set("lora_r", 4);
  }

  private Path train(ConfigBuilder<SftConfig> builder) {
    SftConfig config = builder.build();
    new SftTrainer(config, RunContext.silent()).train();
    return config.training().outputDir();
  }

  @ParameterizedTest
  @ValueSource(strings = {"fp32", "bf16"})
  void aResumedRunIsTheUninterruptedOneBitForBit(String dtype) throws IOException {
    byte[] before = Files.readAllBytes(model.resolve("model.safetensors"));
    Path whole = train(builder(model, "whole").set("dtype", dtype).set("lora_dropout", 0.2));
    StopSignal stop = new StopSignal();
    RunContext interrupted =
        new RunContext(
            Console.silent(),
            stop,
            row -> {
              if (row.get(MetricNames.STEP).equals(4L)) {
                stop.request(ExitCode.TERMINATED);
              }
            },
            List.of());
    ConfigBuilder<SftConfig> cut =
        builder(model, "cut").set("dtype", dtype).set("lora_dropout", 0.2);
    new SftTrainer(cut.build(), interrupted).train();
    Path output = temporary.resolve("cut");
    assertTrue(Files.exists(output.resolve("checkpoint-4").resolve(ADAPTER)));
    assertFalse(Files.exists(output.resolve(ADAPTER)));
    train(cut.set("resume_from_checkpoint", "auto"));

    assertEquals(SameRuns.metrics(whole), SameRuns.metrics(output));
    for (String name : List.of(ADAPTER, "adapter_config.json")) {
      SameRuns.assertSameFile(whole, output, name);
    }
    SameRuns.assertSameFile(
        whole.resolve("checkpoint-6"), output.resolve("checkpoint-6"), "optimizer.safetensors");
    assertArrayEquals(before, Files.readAllBytes(model.resolve("model.safetensors")));
  }

  @Test
  void dropoutChangesTheRun() throws IOException {
    Path without = train(builder(model, "without"));
    Path with = train(builder(model, "with").set("lora_dropout", 0.2));
    assertFalse(
        Arrays.equals(
            Files.readAllBytes(without.resolve(ADAPTER)),
            Files.readAllBytes(with.resolve(ADAPTER))));
  }

  @Test
  void aRunLeavesWhatPeftReadsAndNoCopyOfTheModel() throws IOException {
    Path output = train(builder(model, "out"));
    for (Path folder : List.of(output, output.resolve("checkpoint-6"))) {
      assertTrue(Files.exists(folder.resolve("tokenizer.json")));
      assertFalse(Files.exists(folder.resolve("model.safetensors")));
      assertFalse(Files.exists(folder.resolve("config.json")));
      String config = Files.readString(folder.resolve("adapter_config.json"));
      assertTrue(config.contains("\"task_type\": \"CAUSAL_LM\""), config);
      assertTrue(config.contains("\"r\": 4"), config);
      assertTrue(config.contains("\"lora_alpha\": 32"), config);
      assertTrue(config.contains(model.toString()), config);
    }
    // Seven modules in each of two layers; of each A and B. The optimizer keeps nothing else.
    assertEquals(28, SafetensorsFile.open(output.resolve(ADAPTER)).tensors().size());
    Path optimizer = output.resolve("checkpoint-6/optimizer.safetensors");
    assertEquals(3 * 28, SafetensorsFile.open(optimizer).tensors().size());
    String card = Files.readString(output.resolve("README.md"));
    String load = "AutoPeftModelForCausalLM.from_pretrained(\"%s\")".formatted(output);
    assertTrue(card.contains(load), card);
  }

  @Test
  void anAdapterGoesOnBeingTrainedOrIsMergedIntoAllWeights() throws IOException {
    Path first = train(builder(model, "first"));
    Path second = train(builder(first, "second"));
    String config = Files.readString(second.resolve("adapter_config.json"));
    assertTrue(config.contains("\"" + model + "\""), "the model is still the first: " + config);
    double loss = (Double) SameRuns.metrics(first).get(0).get("loss");
    double later = (Double) SameRuns.metrics(second).get(0).get("loss");
    assertTrue(later < loss - 0.1, loss + " then " + later);

    Path all = train(builder(first, "all").set("use_peft", false).set("lora_r", 16));
    assertTrue(Files.exists(all.resolve("model.safetensors")));
    assertTrue(Files.exists(all.resolve("config.json")));
    assertFalse(Files.exists(all.resolve("adapter_config.json")));
    double merged = (Double) SameRuns.metrics(all).get(0).get("loss");
    assertEquals(later, merged, 0.1);
  }

  private static void refused(ConfigBuilder<SftConfig> builder, String... parts) {
    RlhfException error =
        assertThrows(
            RlhfException.class,
            () -> new SftTrainer(builder.build(), RunContext.silent()).train());
    for (String part : parts) {
      assertTrue(error.getMessage().contains(part), error.getMessage());
    }
  }

  @Test
  void whatCannotBeTrainedIsRefusedByName() {
    Path first = train(builder(model, "first"));
    refused(
        builder(model, "a").set("lora_target_modules", List.of("q_proj", "lm_head")),
        "lora_target_modules: lm_head is no linear module",
        "all-linear, or some of down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj");
    refused(
        builder(model, "a").set("lora_target_modules", "embed_tokens"),
        "lora_target_modules: embed_tokens is no linear module");
    refused(
        builder(model, "a").set("lora_target_modules", List.of("all-linear", "q_proj")),
        "lora_target_modules: all-linear stands alone");
    refused(
        builder(model, "a").set("modules_to_save", "head"),
        "modules_to_save: the model has no module head; allowed: some of ");
    refused(
        builder(model, "a").set("modules_to_save", "embed_tokens"),
        "modules_to_save: model.embed_tokens is tied to the head");
    refused(
        builder(model, "a").set("modules_to_save", "q_proj"),
        "modules_to_save: model.layers.0.self_attn.q_proj has an adapter already");
    refused(
        builder(model, "a")
            .set("lora_target_modules", "o_proj")
            .set("modules_to_save", "gate_proj"),
        "modules_to_save: gate_proj, up_proj are computed as one; name all of them or none");
    refused(
        builder(first, "a").set("lora_r", 8).set("lora_alpha", 16),
        "lora_r: found 8, but the adapter in " + first + " has 4",
        "lora_alpha: found 16.0",
        "merge-lora");
    refused(
        builder(first, "a").set("lora_target_modules", "q_proj"),
        "lora_target_modules, modules_to_save: found [q_proj], []");
  }

  @Test
  void otherAdaptersThanTheRunsAreAnErrorOnResume() {
    train(builder(model, "out"));
    refused(
        builder(model, "out").set("lora_r", 8).set("resume_from_checkpoint", "auto"),
        "lora_r",
        "4",
        "8");
  }
}
