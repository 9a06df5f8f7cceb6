package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.testing.SameRuns;

/** Adapters from command to command: trained, used, trained on, merged. */
class LoraByCommandsTest {
  private static final JsonMapper JSON = new JsonMapper();

  @TempDir Path folder;
  private TinyRuns tiny;

  @BeforeEach
  void files() throws IOException {
    tiny = new TinyRuns(folder);
  }

  private static void done(List<String> words) {
    CommandLineRun run = CommandLineRun.of(words);
    assertEquals(ExitCode.DONE, run.code(), run.errors().toString());
  }

  private Path lora(String verb, String name, String... more) {
    Path output = folder.resolve(name);
    List<String> words = new ArrayList<>(tiny.train(verb, output, more));
    words.addAll(List.of("--use_peft", "true", "--lora_r", "4"));
    done(words);
    assertTrue(Files.exists(output.resolve("adapter_model.safetensors")));
    assertFalse(Files.exists(output.resolve("model.safetensors")));
    return output;
  }

  private Path merged(Path adapter) {
    Path output = folder.resolve(adapter.getFileName() + "-merged");
    done(
        List.of(
            "merge-lora",
            "--model_name_or_path",
            adapter.toString(),
            "--output_path",
            output + ""));
    return output;
  }

  private List<JsonNode> use(String verb, Path model, Path data, String... more)
      throws IOException {
    Path output = folder.resolve(verb + "-of-" + model.getFileName() + ".jsonl");
    List<String> words = new ArrayList<>(List.of(verb));
    words.addAll(List.of("--model_name_or_path", model.toString()));
    words.addAll(List.of("--dataset_path", data.toString(), "--output_path", output.toString()));
    words.addAll(List.of("--dtype", "fp32", "--device", "cpu"));
    words.addAll(Arrays.asList(more));
    done(words);
    List<JsonNode> rows = new ArrayList<>();
    for (String line : Files.readAllLines(output)) {
      rows.add(JSON.readTree(line));
    }
    return rows;
  }

  private static double[] numbers(List<JsonNode> rows, String field) {
    return rows.stream().mapToDouble(row -> row.path(field).asDouble(Double.NaN)).toArray();
  }

  @Test
  void aLanguageModelsAdapterIsUsedAndMerged() throws IOException {
    Path adapter = lora("sft", "sft");
    Path merged = merged(adapter);
    double[] base = numbers(use("score", tiny.model, tiny.rows), "mean_log_prob");
    double[] found = numbers(use("score", adapter, tiny.rows), "mean_log_prob");
    assertArrayEquals(numbers(use("score", merged, tiny.rows), "mean_log_prob"), found, 1e-4);
    assertTrue(Arrays.stream(found).sum() > Arrays.stream(base).sum() + 10);

    List<JsonNode> samples = use("generate", adapter, tiny.prompts, "--max_new_tokens", "12");
    List<JsonNode> ofMerged = use("generate", merged, tiny.prompts, "--max_new_tokens", "12");
    for (int i = 0; i < samples.size(); i++) {
      assertEquals(
          ofMerged.get(i).path("responses").path(0).path("token_ids"),
          samples.get(i).path("responses").path(0).path("token_ids"));
    }
    done(List.of("inspect", adapter.toString()));

    CommandLineRun again =
        CommandLineRun.of(
            List.of(
                "merge-lora",
                "--model_name_or_path",
                adapter.toString(),
                "--output_path",
                merged.toString()));
    assertEquals(ExitCode.CONFIG, again.code());
    assertEquals(
        List.of("error: output_path: " + merged + " is not empty; choose another"), again.errors());
    CommandLineRun difference =
        CommandLineRun.of(
            List.of(
                "delta",
                "make",
                "--base_model_name_or_path",
                tiny.model.toString(),
                "--model_name_or_path",
                adapter.toString(),
                "--output_dir",
                folder.resolve("x").toString()));
    assertEquals(ExitCode.INPUT, difference.code());
    assertTrue(difference.errors().get(0).contains("merge it first"), difference.errors() + "");
    CommandLineRun nothing =
        CommandLineRun.of(
            List.of(
                "merge-lora",
                "--model_name_or_path",
                tiny.model.toString(),
                "--output_path",
                folder.resolve("x").toString()));
    assertEquals(ExitCode.INPUT, nothing.code());
    assertTrue(nothing.errors().get(0).contains("no adapter, adapter_config.json is missing"));
  }

  @Test
  void aRewardModelsAdapterHoldsItsHead() throws IOException {
    Path adapter = lora("reward", "reward", "--append_eos", "false");
    Path merged = merged(adapter);
    List<JsonNode> rows = use("score", adapter, tiny.pairs);
    double[] margins = numbers(rows, "margin");
    assertArrayEquals(numbers(use("score", merged, tiny.pairs), "margin"), margins, 1e-5);
    long right = Arrays.stream(margins).filter(margin -> margin > 0).count();
    assertTrue(right >= 0.9 * margins.length, right + " of " + margins.length);
    assertTrue(Files.exists(merged.resolve("config.yaml")), "says how texts are read");
    assertTrue(Files.readString(merged.resolve("config.json")).contains("pad_token_id"));

    // A loop with an adapter as the model, and another as its reward.
    Path policy = lora("sft", "policy");
    Path loop =
        lora(
            "raft",
            "raft",
            "--model_name_or_path",
            policy.toString(),
            "--reward_model_name_or_path",
            adapter.toString(),
            "--num_raft_iterations",
            "1",
            "--prompts_per_iteration",
            "4");
    var first =
        SameRuns.metrics(loop).stream().filter(row -> row.containsKey("kl/to_start")).findFirst();
    assertEquals(0.0, (Double) first.orElseThrow().get("kl/to_start"), 1e-3);
  }

  @Test
  void theReferenceOfRaftIsTheModelWithoutItsAdapters() throws IOException {
    Path loop =
        lora(
            "raft", "raft", "--num_raft_iterations", "3", "--eval_dataset_path", "" + tiny.prompts);
    List<Double> distances = new ArrayList<>();
    SameRuns.metrics(loop)
        .forEach(
            row -> {
              if (row.containsKey("eval_kl/to_start")) {
                distances.add((Double) row.get("eval_kl/to_start"));
              }
            });
    assertEquals(4, distances.size());
    assertEquals(0.0, distances.get(0), 1e-4, "adapters start without effect");
    assertTrue(distances.get(3) > 0.1, distances.toString());
  }
}
