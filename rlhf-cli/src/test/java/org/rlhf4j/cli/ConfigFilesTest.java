package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.testing.SameRuns;

/** The files in {@code configs/} run, each on the first rows of its data. */
class ConfigFilesTest {
  private static final Path ROOT = root();
  private static final int ROWS = 24;

  @TempDir Path folder;
  private MetricDictionary metrics;

  private static Path root() {
    Path place = Path.of("").toAbsolutePath();
    while (!Files.isDirectory(place.resolve("configs"))) {
      place = place.getParent();
    }
    return place;
  }

  private Path firstRows(String set) throws IOException {
    Path source = ROOT.resolve("examples/data/hh/harmless-base-" + set + ".jsonl.gz");
    List<String> lines = new ArrayList<>();
    try (BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(
                new GZIPInputStream(Files.newInputStream(source)), StandardCharsets.UTF_8))) {
      for (int i = 0; i < ROWS; i++) {
        lines.add(reader.readLine());
      }
    }
    return Files.write(folder.resolve(set + ".jsonl"), lines);
  }

  private Path run(String recipe, Path model, String... more) throws IOException {
    Path output = folder.resolve(recipe);
    String verb = recipe.replace("-trlx", "");
    List<String> words = new ArrayList<>(List.of(verb));
    words.addAll(List.of("--config", ROOT + "/configs/hh-" + recipe + "-tiny.yaml"));
    words.addAll(List.of("--model_name_or_path", model.toString()));
    words.addAll(List.of("--dataset_path", firstRows("train").toString()));
    words.addAll(List.of("--eval_dataset_path", firstRows("test").toString()));
    words.addAll(List.of("--output_dir", output.toString(), "--max_steps", "2"));
    words.addAll(Arrays.asList(more));
    CommandLineRun run = CommandLineRun.of(words);
    assertEquals(ExitCode.DONE, run.code(), run.errors().toString());
    assertTrue(Files.exists(output.resolve("model.safetensors")));
    assertEquals(2, SameRuns.metrics(output).get(SameRuns.metrics(output).size() - 1).get("step"));
    metrics.check(verb, output);
    return output;
  }

  @Test
  void metricsMdHasEachMetricOnce() throws Exception {
    List<String> constants = new ArrayList<>();
    for (Field field : MetricNames.class.getFields()) {
      if (!field.getName().equals("EVAL_PREFIX")) {
        constants.add((String) field.get(null));
      }
    }
    List<String> names = MetricDictionary.read(ROOT.resolve("METRICS.md")).names();
    assertEquals(constants.stream().sorted().toList(), names.stream().sorted().toList());
  }

  @Test
  void eachRunsToItsEnd() throws IOException {
    metrics = MetricDictionary.read(ROOT.resolve("METRICS.md"));
    Path start = ROOT.resolve("examples/models/tinystories-260k");
    Path sft = run("sft", start);
    Path reward = run("reward", start);
    run(
        "raft",
        sft,
        "--reward_model_name_or_path",
        reward.toString(),
        "--prompts_per_iteration",
        "4",
        "--samples_per_prompt",
        "2",
        "--max_new_tokens",
        "8");
    for (String recipe : List.of("ppo", "ppo-trlx")) {
      run(
          recipe,
          sft,
          "--reward_model_name_or_path",
          reward.toString(),
          "--rollout_batch_size",
          "4",
          "--mini_batch_size",
          "4",
          "--per_device_train_batch_size",
          "2",
          "--max_new_tokens",
          "8");
    }
    for (String verb : List.of("rloo", "grpo", "reinforce-pp")) {
      run(
          verb,
          sft,
          "--reward_model_name_or_path",
          reward.toString(),
          "--rollout_batch_size",
          "2",
          "--num_generations",
          "2",
          "--max_new_tokens",
          "8");
    }
    assertEquals(
        new TreeSet<>(
            List.of(
                "clip_ratio/high_mean",
                "clip_ratio/low_mean",
                "clip_ratio/region_mean",
                "early_stop/kl",
                "early_stop/planned_steps",
                "early_stop/steps",
                "kl")),
        metrics.unseen());
    try (Stream<Path> files = Files.list(ROOT.resolve("configs"))) {
      assertEquals(
          new TreeSet<>(
              List.of(
                  "hh-grpo-tiny.yaml",
                  "hh-ppo-tiny.yaml",
                  "hh-ppo-trlx-tiny.yaml",
                  "hh-raft-tiny.yaml",
                  "hh-reinforce-pp-tiny.yaml",
                  "hh-reward-tiny.yaml",
                  "hh-rloo-tiny.yaml",
                  "hh-sft-tiny.yaml")),
          new TreeSet<>(files.map(file -> file.getFileName().toString()).toList()));
    }
  }
}
