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
  @ValueSource(strings = {"sft", "reward", "raft", "ppo", "grpo", "rloo", "reinforce-pp"})
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

    String property = "ai.djl.pytorch.num_threads";
    String threads = System.getProperty(property);
    List<String> onOthers = new ArrayList<>(goesOn);
    onOthers.addAll(List.of("--threads", "99"));
    try {
      assertEquals(ExitCode.CONFIG, validate(onOthers));
    } finally {
      if (threads == null) {
        System.clearProperty(property);
      } else {
        System.setProperty(property, threads);
      }
    }
    assertEquals(1, errors.size(), errors.toString());
    assertTrue(
        errors
            .get(0)
            .matches("error: threads: the run was started with \\d+, it cannot go on with 99: .*"),
        errors.toString());

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

  /** The words of {@code generate} or {@code score}. */
  private List<String> ask(String verb, Path output, String... more) {
    List<String> words = new ArrayList<>(List.of(verb));
    words.addAll(List.of("--model_name_or_path", tiny.model.toString()));
    words.addAll(List.of("--dataset_path", tiny.rows.toString()));
    words.addAll(List.of("--output_path", output.toString()));
    words.addAll(List.of(more));
    return words;
  }

  @Test
  void aDeviceThatIsNotThere() {
    List<String> serve =
        List.of("serve-reward", "--model_name_or_path", tiny.rewardModel.toString());
    List<List<String>> all =
        List.of(tiny.train("sft", output), ask("generate", output), ask("score", output), serve);
    for (List<String> words : all) {
      List<String> onGpu = new ArrayList<>(words);
      int place = onGpu.indexOf("--device");
      if (place >= 0) {
        onGpu.subList(place, place + 2).clear();
      }
      onGpu.addAll(List.of("--device", "cuda:99"));
      assertEquals(ExitCode.CONFIG, validate(onGpu), errors.toString());
      assertEquals(1, errors.size(), errors.toString());
      assertTrue(
          errors.get(0).startsWith("error: device: cuda:99 was asked for, but PyTorch sees "),
          errors.toString());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"generate", "score"})
  void anOutputFileThatCannotBeWritten(String verb) throws IOException {
    finds(
        ExitCode.ENVIRONMENT,
        ask(verb, tiny.model),
        "error: " + tiny.model + ": cannot be written: a folder of that name is in the way");
    Path below = tiny.rows.resolve("folder").resolve("o.jsonl");
    finds(
        ExitCode.ENVIRONMENT,
        ask(verb, below),
        "error: " + below + ": cannot be written: " + tiny.rows + " is a file");
    Map<String, Integer> before = content();
    assertEquals(ExitCode.DONE, validate(ask(verb, output.resolve("new").resolve("o.jsonl"))));
    assertEquals(before, content());
  }

  @Test
  void aModelThatWouldGiveKeysIsNotThere() throws IOException {
    Path model = folder.resolve("no-model");
    Path rows = folder.resolve("no-rows");
    List<String> words =
        new ArrayList<>(ask("generate", output, "--use_generation_config", "true"));
    words.set(words.indexOf("--model_name_or_path") + 1, model.toString());
    words.set(words.indexOf("--dataset_path") + 1, rows.toString());
    finds(
        ExitCode.INPUT,
        words,
        "error: --model_name_or_path: no such folder: " + model,
        "error: --dataset_path: no such file: " + rows);
    Files.createDirectory(model);
    finds(
        ExitCode.INPUT,
        words,
        "error: --dataset_path: no such file: " + rows,
        "error: " + model + ": no model folder, config.json is missing");
  }

  @ParameterizedTest
  @ValueSource(strings = {"raft", "ppo", "grpo"})
  void aRewardThatIsNotNamedIsOneProblemAmongOthers(String verb) throws IOException {
    Path rows = write("broken.jsonl", "{");
    List<String> words = tiny.train(verb, output, "--dataset_path", rows.toString());
    int reward = words.indexOf(REWARD);
    words.subList(reward, reward + 2).clear();
    finds(
        ExitCode.CONFIG,
        words,
        "error: 1 of 1 rows are unusable, max_bad_rows is 0: "
            + rows
            + ":1: broken JSON at column 2: Unexpected end-of-input: expected close marker for"
            + " Object",
        "error: reward_model_name_or_path: is required and not given");
  }

  @ParameterizedTest
  @ValueSource(strings = {"ppo", "grpo"})
  void answersThatADeltaRewardReadsAreRowsToo(String verb) throws IOException {
    replace(
        tiny.rewardModel.resolve("config.json"),
        "\"max_position_embeddings\": 128",
        "\"max_position_embeddings\": 80");
    // The begin token, and a token for each letter: 6 of the prompt and 90 of the answer.
    Path rows =
        write(
            "answered.jsonl",
            "{\"prompt\": \"count \", \"completion\": \"%s\"}".formatted("a".repeat(90)));
    List<String> words =
        tiny.train(verb, output, "--dataset_path", rows.toString(), "--delta_reward", "true");
    assertEquals(ExitCode.DONE, validate(words), errors.toString());
    assertTrue(
        errors
            .toString()
            .contains(
                "warning: reward_model_name_or_path: the model's context is 80 tokens, rows may"
                    + " have 97;"),
        errors.toString());
  }

  @Test
  void trlxNeedsTexts() throws IOException {
    List<String> words = tiny.train("ppo", output, "--trlx_compat", "head");
    assertEquals(ExitCode.DONE, validate(words), errors.toString());
    try (Stream<Path> all = Files.list(tiny.model)) {
      for (Path file : all.filter(path -> path.toString().contains("token")).toList()) {
        Files.delete(file);
      }
    }
    Path ids = write("ids.jsonl", "{\"input_ids\": [1, 2, 3]}");
    words.set(words.indexOf("--dataset_path") + 1, ids.toString());
    finds(
        ExitCode.CONFIG,
        words,
        "error: reward_model_name_or_path: "
            + tiny.rewardModel
            + " reads texts, and "
            + tiny.model
            + " has no tokenizer to make them",
        "error: trlx_compat head: needs a tokenizer beside model_name_or_path");
  }

  @Test
  void whereNothingIsLookedIntoTheLastLineSaysSo() {
    List<String> words =
        List.of(
            "merge-lora",
            "--model_name_or_path",
            tiny.model.toString(),
            "--output_path",
            output.toString());
    assertEquals(ExitCode.DONE, validate(words), errors.toString());
    assertTrue(
        out.endsWith(
            "\n# valid for: rlhf merge-lora (only its keys, and that its files are there)\n"),
        out);
  }

  @ParameterizedTest
  @ValueSource(strings = {"ppo", "grpo"})
  void modelsThatARunGoesOnWith(String verb) throws IOException {
    assertEquals(
        ExitCode.DONE, run(tiny.train(verb, output, "--total_episodes", "12")), errors.toString());
    List<String> goesOn =
        tiny.train(verb, output, "--total_episodes", "12", "--resume_from_checkpoint", "auto");
    Map<String, Integer> before = content();
    assertEquals(ExitCode.DONE, validate(goesOn), errors.toString());
    assertEquals(before, content());
    assertTrue(out.contains(": goes on from " + output + "/checkpoint-"), out);
    assertTrue(out.contains("\n# began with  " + tiny.model + " (llama, "), out);

    Path weights = tiny.rewardModel.resolve("model.safetensors");
    byte[] others = Files.readAllBytes(weights);
    others[others.length - 1] ^= 1;
    Files.write(weights, others);
    assertEquals(ExitCode.CONFIG, validate(goesOn));
    assertEquals(1, errors.size(), errors.toString());
    assertTrue(
        errors
            .get(0)
            .startsWith(
                "error: reward_model_name_or_path: the weights are not those that the run was"
                    + " started with (SHA-256 "),
        errors.toString());

    replace(
        tiny.model.resolve("config.json"), "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 0");
    assertEquals(ExitCode.INPUT, validate(goesOn));
    assertEquals(1, errors.size(), errors.toString());
    assertTrue(
        errors.get(0).startsWith("error: " + tiny.model.resolve("config.json") + ": "),
        errors.toString());
  }
}
