package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;

/** {@code validate} looks into the models and rows of a configuration, and changes nothing. */
class ValidateTest {
  private static final String REWARD = "--reward_model_name_or_path";

  @TempDir Path folder;
  private TinyRuns tiny;
  private Path output;
  private String out;
  private List<String> errors;

  @BeforeEach
  void files() throws IOException {
    tiny = new TinyRuns(folder);
    output = folder.resolve("out");
  }

  private ExitCode validate(List<String> words) {
    List<String> line = new ArrayList<>(List.of("validate"));
    line.addAll(words);
    return run(line);
  }

  private ExitCode run(List<String> words) {
    CommandLineRun run = CommandLineRun.of(words);
    out = run.out();
    errors = run.errors();
    return run.code();
  }

  private Map<String, Integer> content() throws IOException {
    Map<String, Integer> content = new TreeMap<>();
    try (Stream<Path> all = Files.walk(folder)) {
      for (Path file : all.toList()) {
        content.put(
            file.toString(),
            Files.isRegularFile(file) ? Arrays.hashCode(Files.readAllBytes(file)) : 0);
      }
    }
    return content;
  }

  /** Validates, and requires these lines of error, in any order, and that nothing is changed. */
  private void finds(ExitCode code, List<String> words, String... lines) throws IOException {
    Map<String, Integer> before = content();
    assertEquals(code, validate(words), errors.toString());
    assertEquals(Stream.of(lines).sorted().toList(), errors.stream().sorted().toList());
    assertEquals("", out);
    assertEquals(before, content());
  }

  private Path write(String name, String... lines) throws IOException {
    return Files.write(folder.resolve(name), List.of(lines));
  }

  private void replace(Path file, String found, String by) throws IOException {
    String text = Files.readString(file);
    assertTrue(text.contains(found), text);
    Files.writeString(file, text.replace(found, by));
  }

  @ParameterizedTest
  @ValueSource(strings = {"sft", "reward", "raft", "ppo", "grpo", "rloo"})
  void tellsWhatARunWouldFind(String verb) throws IOException {
    Path held =
        write(
            "held.jsonl",
            "{\"prompt\": \"count \", \"chosen\": \"a\", \"rejected\": \"b\"}",
            "{\"prompt\": \"count \", \"chosen\": \"a\", \"rejected\": \"bb\"}",
            "{\"prompt\": \"%s\", \"chosen\": \"a\", \"rejected\": \"b\"}"
                .formatted("x".repeat(99)));
    Map<String, Integer> before = content();
    List<String> words =
        tiny.train(verb, output, "--eval_dataset_path", held.toString(), "--overlong", "drop");
    assertEquals(ExitCode.DONE, validate(words), errors.toString());
    assertEquals(List.of(), errors);
    assertEquals(before, content());
    assertTrue(out.contains("# model       " + tiny.model + " (llama, 2 layers, width 16, "), out);
    assertTrue(out.contains("\n# output_dir  " + output + ": a new run\n"), out);
    assertTrue(
        out.contains("\n# train data  rows: 40 read, 40 kept, 0 dropped, 0 truncated\n"), out);
    assertTrue(
        out.contains(
            "\n# eval data   rows: 3 read, 2 kept, 1 dropped, 0 truncated\n"
                + "#             dropped 1: longer than max_length\n"),
        out);
    boolean online = !verb.equals("sft") && !verb.equals("reward");
    assertEquals(online, out.contains("\n# reward      " + tiny.rewardModel + " (llama, "), out);
    assertTrue(out.endsWith("\n# valid for: rlhf " + verb + "\n"), out);
  }

  @Test
  void whatItPrintsIsAConfiguration() throws IOException {
    List<String> words = tiny.train("ppo", output);
    validate(words);
    Path config = Files.writeString(folder.resolve("printed.yaml"), out);
    String first = out;
    assertEquals(ExitCode.DONE, validate(List.of("ppo", "--config", config.toString())));
    assertEquals(first, out);
  }

  @Test
  void allThatWouldStopARunComesAtOnce() throws IOException {
    Path small = folder.resolve("small");
    Files.createDirectory(small);
    Path rows = write("rows-with-two-bad.jsonl", "{\"prompt\": \"a\"}", "{", "{\"text\": 1}");
    Path absent = folder.resolve("absent.jsonl");
    finds(
        ExitCode.CONFIG,
        tiny.train(
            "ppo",
            output,
            "--num_layers_unfrozen",
            "3",
            "--dataset_path",
            rows.toString(),
            "--eval_dataset_path",
            absent.toString(),
            REWARD,
            tiny.model.toString(),
            "--value_network",
            "separate",
            "--value_model_name_or_path",
            small.toString()),
        "error: num_layers_unfrozen: 3; allowed: -1 for all layers, or 1 to 2, the layers of "
            + tiny.model,
        "error: 2 of 3 rows are unusable, max_bad_rows is 0: "
            + rows
            + ":2: broken JSON at column 2: Unexpected end-of-input: expected close marker for"
            + " Object; "
            + rows
            + ":3: text must be a string, is number",
        "error: --eval_dataset_path: no such file: " + absent,
        "error: "
            + tiny.model.resolve("config.json")
            + ": expected a reward model (LlamaForSequenceClassification), found a language model",
        "error: " + small + ": no model folder, config.json is missing");
  }

  @Test
  void modelsThatDoNotFitEachOther() throws IOException {
    Path value = tiny.rewardModel;
    replace(
        value.resolve("config.json"),
        "\"max_position_embeddings\": 128",
        "\"max_position_embeddings\": 32");
    finds(
        ExitCode.CONFIG,
        tiny.train(
            "ppo",
            output,
            REWARD,
            "http://127.0.0.1:1",
            "--value_network",
            "separate",
            "--value_model_name_or_path",
            value.toString()),
        "error: value_model_name_or_path: the model's context is 32 tokens, rows may have 64; a"
            + " smaller max_length helps");
  }

  @Test
  void aRewardModelThatMayMeetMoreThanItKnows() throws IOException {
    replace(
        tiny.rewardModel.resolve("config.json"),
        "\"max_position_embeddings\": 128",
        "\"max_position_embeddings\": 32");
    assertEquals(ExitCode.DONE, validate(tiny.train("raft", output)));
    assertEquals(1, errors.size(), errors.toString());
    assertTrue(
        errors
            .get(0)
            .startsWith(
                "warning: reward_model_name_or_path: the model's context is 32 tokens, rows may have"
                    + " 64;"),
        errors.toString());
  }

  @Test
  void theVerbsThatAskAModel() throws IOException {
    List<String> serve =
        List.of("serve-reward", "--model_name_or_path", tiny.rewardModel.toString());
    assertEquals(ExitCode.DONE, validate(serve), errors.toString());
    assertTrue(out.contains("\n# reward  " + tiny.rewardModel + " (llama, "), out);
    String found =
        "error: "
            + tiny.model.resolve("config.json")
            + ": expected a reward model (LlamaForSequenceClassification), found a language model";
    finds(
        ExitCode.INPUT,
        List.of("serve-reward", "--model_name_or_path", tiny.model.toString()),
        found);
    for (String verb : List.of("generate", "score")) {
      List<String> words = new ArrayList<>(List.of(verb));
      words.addAll(List.of("--model_name_or_path", tiny.model.toString()));
      words.addAll(List.of("--dataset_path", tiny.rows.toString()));
      words.addAll(List.of("--output_path", folder.resolve("o.jsonl").toString()));
      Map<String, Integer> before = content();
      assertEquals(ExitCode.DONE, validate(words), errors.toString());
      assertEquals(before, content());
      assertTrue(out.contains("rows: 40 read, 40 kept, 0 dropped, 0 truncated\n"), out);
    }
  }

  @Test
  void whatNeedsTexts() throws IOException {
    try (Stream<Path> all = Files.list(tiny.model)) {
      for (Path file : all.filter(path -> path.toString().contains("token")).toList()) {
        Files.delete(file);
      }
    }
    Path ids = write("ids.jsonl", "{\"input_ids\": [1, 2, 3]}");
    finds(
        ExitCode.CONFIG,
        tiny.train("raft", output, "--dataset_path", ids.toString(), "--stop", "x"),
        "error: reward_model_name_or_path: "
            + tiny.rewardModel
            + " reads texts, and "
            + tiny.model
            + " has no tokenizer to make them",
        "error: stop: stop strings need a tokenizer, and the model folder has none");
    finds(
        ExitCode.INPUT,
        tiny.train("sft", output),
        "error: "
            + tiny.rows
            + ":1: a row of text needs a tokenizer, and the model folder has no tokenizer.json; give"
            + " rows of input_ids");
  }

  @Test
  void aServerIsNotAsked() {
    assertEquals(ExitCode.DONE, validate(tiny.train("raft", output, REWARD, "http://127.0.0.1:1")));
    assertTrue(
        out.contains("\n# reward      http://127.0.0.1:1: a server, which was not asked\n"), out);
  }

  @Test
  void weightsAndTokenizerThatCannotBeRead() throws IOException {
    Path weights = tiny.model.resolve("model.safetensors");
    byte[] whole = Files.readAllBytes(weights);
    Files.write(weights, Arrays.copyOf(whole, whole.length - 100));
    Files.writeString(tiny.model.resolve("tokenizer.json"), "{");
    assertEquals(ExitCode.INPUT, validate(tiny.train("sft", output)));
    assertEquals(2, errors.size(), errors.toString());
    assertTrue(errors.get(0).startsWith("warning: train data: not looked at"), errors.toString());
    assertTrue(errors.get(1).startsWith("error: " + weights + ": "), errors.toString());
    Files.write(weights, whole);
    assertEquals(ExitCode.INPUT, validate(tiny.train("sft", output)));
    assertEquals(2, errors.size(), errors.toString());
    assertTrue(
        errors.get(1).startsWith("error: " + tiny.model.resolve("tokenizer.json")),
        errors.toString());
  }

  @ParameterizedTest
  @ValueSource(strings = {"sft", "reward", "raft", "ppo"})
  void anAdapterThatDoesNotFit(String verb) throws IOException {
    List<String> words =
        tiny.train(verb, output, "--use_peft", "true", "--lora_target_modules", "q_prj");
    if (verb.equals("ppo")) {
      words.set(words.indexOf("--num_layers_unfrozen") + 1, "-1");
    }
    finds(
        ExitCode.CONFIG,
        words,
        "error: lora_target_modules: q_prj is no linear module inside the model; allowed:"
            + " all-linear, or some of down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj");
  }

  @Test
  void aPlaceThatCannotBeWritten() throws IOException {
    Path file = write("in-the-way", "");
    Path below = file.resolve("out");
    finds(
        ExitCode.ENVIRONMENT,
        tiny.train("sft", below),
        "error: output_dir: cannot write to " + below + " (" + file + " is a file)");
  }

  @Test
  void aFolderOfAnotherRunAndOneThatGoesOn() throws IOException {
    assertEquals(
        ExitCode.DONE, run(tiny.train("sft", output, "--max_steps", "2", "--save_steps", "1")));
    finds(
        ExitCode.CONFIG,
        tiny.train("sft", output),
        "error: output_dir: "
            + output
            + " is not empty (it has README.md); choose another, continue its run with"
            + " resume_from_checkpoint: auto, or replace its files with overwrite_output_dir: true");
    List<String> goesOn =
        tiny.train(
            "sft",
            output,
            "--max_steps",
            "2",
            "--save_steps",
            "1",
            "--resume_from_checkpoint",
            "auto");
    Map<String, Integer> before = content();
    assertEquals(ExitCode.DONE, validate(goesOn), errors.toString());
    assertEquals(before, content());
    assertTrue(
        out.contains("\n# output_dir  " + output + ": goes on from " + output + "/checkpoint-2\n"),
        out);

    Files.writeString(tiny.rows, "{\"prompt\": \"a\", \"completion\": \"b\"}\n");
    assertEquals(ExitCode.CONFIG, validate(goesOn));
    assertEquals(1, errors.size(), errors.toString());
    assertTrue(
        errors.get(0).startsWith("error: dataset_path: the rows are not those that the run"),
        errors.toString());
    goesOn.addAll(List.of("--seed", "7"));
    assertEquals(ExitCode.CONFIG, validate(goesOn));
    assertEquals(2, errors.size(), errors.toString());
    assertTrue(errors.get(0).contains("seed"), errors.toString());
  }
}
