package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tngtech.archunit.core.domain.JavaClasses;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.testing.DeadKeys;
import org.rlhf4j.core.testing.SameRuns;

/** Every key does something. */
class KeysTest {
  @TempDir Path folder;
  private TinyRuns tiny;

  @BeforeEach
  void files() throws IOException {
    tiny = new TinyRuns(folder);
  }

  @Test
  void everyKeyIsRead() {
    JavaClasses library = DeadKeys.libraryClasses();
    List<Class<? extends Record>> records = new ArrayList<>();
    Verbs.ALL.forEach(verb -> records.add(verb.config()));
    assertEquals(List.of(), DeadKeys.find(records, library));
    assertEquals(
        DeadKeys.recordsWithKeys(library),
        DeadKeys.withInner(records).stream().map(Class::getName).collect(Collectors.toSet()),
        "records with keys, and those of the verbs");
  }

  /** Runs {@code sft} for six steps of an epoch of three. */
  private Path sft(String name, String... more) {
    Path output = folder.resolve(name);
    List<String> words = new ArrayList<>(tiny.train("sft", output, more));
    words.addAll(List.of("--num_train_epochs", "2", "--logging_steps", "1"));
    words.set(words.indexOf("--max_steps") + 1, "6");
    words.set(words.indexOf("--per_device_train_batch_size") + 1, "16");
    CommandLineRun run = CommandLineRun.of(words);
    assertEquals(ExitCode.DONE, run.code(), run.errors().toString());
    return output;
  }

  private static List<String> checkpoints(Path output) throws IOException {
    try (Stream<Path> entries = Files.list(output)) {
      return entries
          .map(entry -> entry.getFileName().toString())
          .filter(name -> name.startsWith("checkpoint-"))
          .sorted()
          .toList();
    }
  }

  private static List<Object> evaluatedSteps(Path output) throws IOException {
    return SameRuns.metrics(output).stream()
        .filter(row -> row.containsKey("eval_loss"))
        .map(row -> row.get("step"))
        .toList();
  }

  private static double number(Map<String, Object> row, String name) {
    return ((Number) row.get(name)).doubleValue();
  }

  @Test
  void saveStrategy() throws IOException {
    assertEquals(
        List.of("checkpoint-3", "checkpoint-6"),
        checkpoints(sft("epoch", "--save_strategy", "epoch")));
    Path none = sft("no", "--save_strategy", "no", "--save_steps", "1");
    assertEquals(List.of(), checkpoints(none));
    assertTrue(Files.exists(none.resolve("model.safetensors")));
    Path limited = sft("steps", "--save_steps", "2", "--save_total_limit", "0");
    assertEquals(List.of("checkpoint-2", "checkpoint-4", "checkpoint-6"), checkpoints(limited));
  }

  @Test
  void evalStrategy() throws IOException {
    String held = tiny.rows.toString();
    String[] data = {"--eval_dataset_path", held, "--eval_steps", "4", "--eval_strategy", "no"};
    assertEquals(List.of(), evaluatedSteps(sft("no", data)));
    data[5] = "epoch";
    assertEquals(List.of(0, 3, 6), evaluatedSteps(sft("epoch", data)));
    data[5] = "steps";
    assertEquals(List.of(0, 4, 6), evaluatedSteps(sft("steps", data)));
  }

  @Test
  void saveBest() throws IOException {
    // A rate at which the loss rises: the start model stays the best.
    String[] keys = {
      "--eval_dataset_path", tiny.rows.toString(), "--learning_rate", "5", "--save_best", "true"
    };
    Path best = sft("best", keys);
    List<Double> losses =
        SameRuns.metrics(best).stream()
            .filter(row -> row.containsKey("eval_loss"))
            .map(row -> number(row, "eval_loss"))
            .toList();
    assertTrue(losses.get(losses.size() - 1) > losses.get(0), losses.toString());
    assertArrayEquals(
        ModelFolder.open(tiny.model).readFloats("model.norm.weight"),
        ModelFolder.open(best).readFloats("model.norm.weight"));
    keys[5] = "false";
    SameRuns.assertSameFile(
        sft("last", keys).resolve("checkpoint-6"), folder.resolve("last"), "model.safetensors");
  }

  @Test
  void saveDtype() throws IOException {
    Path bf16 = sft("bf16", "--save_dtype", "bf16");
    assertEquals(StoredType.BF16, ModelFolder.open(bf16).storedType());
    assertTrue(Files.readString(bf16.resolve("config.json")).contains("bfloat16"));
    assertEquals(StoredType.F32, ModelFolder.open(sft("source")).storedType());
  }

  @Test
  void reportTo() throws IOException {
    Path board = sft("board", "--report_to", "tensorboard").resolve("tensorboard");
    try (Stream<Path> files = Files.list(board)) {
      assertEquals(1, files.filter(file -> file.toString().contains("tfevents")).count());
    }
    assertFalse(Files.exists(sft("none").resolve("tensorboard")));
  }

  @Test
  void template() throws IOException {
    Path rows =
        Files.writeString(
            folder.resolve("messages.jsonl"),
            "{\"messages\": [{\"role\": \"user\", \"content\": \"one\"},"
                + " {\"role\": \"assistant\", \"content\": \"two\"}]}\n");
    String[] keys = {
      "--dataset_path", rows.toString(), "--max_length", "128", "--template", "none"
    };
    keys[5] = "zephyr";
    Object zephyr = SameRuns.metrics(sft("zephyr", keys)).get(0).get("num_tokens");
    keys[5] = "hh";
    Object hh = SameRuns.metrics(sft("hh", keys)).get(0).get("num_tokens");
    assertNotEquals(zephyr, hh);
  }

  @Test
  void activationCheckpointing() throws IOException {
    List<Map<String, Object>> without = SameRuns.metrics(sft("without"));
    List<Map<String, Object>> with =
        SameRuns.metrics(sft("with", "--activation_checkpointing", "true"));
    assertEquals(without.size(), with.size());
    for (int i = 0; i < with.size(); i++) {
      double norm = number(without.get(i), "grad_norm");
      assertEquals(norm, number(with.get(i), "grad_norm"), 1e-4 * norm);
    }
  }
}
