package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.testing.SameRuns;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.StopSignal;

/** An iteration of RAFT as one command, and as a chain of commands with files between them. */
class RaftByCommandsTest {
  private static final JsonMapper JSON = new JsonMapper();

  @TempDir Path temporary;
  private Path model;
  private Path reward;
  private Path prompts;

  @BeforeEach
  void files() throws IOException {
    model = TinyModel.causalLm(temporary.resolve("model"), 1);
    reward = TinyModel.rewardModel(temporary.resolve("reward"), 2);
    // The loop's reward and score both read this.
    Files.writeString(reward.resolve("config.yaml"), "append_eos: true\ntemplate: hh-hash\n");
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      // Some are dialogues, which the reward model reads rewritten.
      String form = i % 2 == 0 ? "%s" : "\\n\\nHuman: %s\\n\\nAssistant:";
      String text = form.formatted("Tell me %sabout %d".formatted("more ".repeat(i % 3), i));
      rows.add("{\"prompt\": \"" + text + "\"}");
    }
    prompts = Files.write(temporary.resolve("prompts.jsonl"), rows);
  }

  private void rlhf(String... words) {
    ByteArrayOutputStream said = new ByteArrayOutputStream();
    PrintStream stream = new PrintStream(said, true, StandardCharsets.UTF_8);
    ExitCode code =
        Main.run(Verbs.ALL, new Session(stream, stream, new StopSignal(), Arrays.asList(words)));
    assertEquals(ExitCode.DONE, code, said.toString(StandardCharsets.UTF_8));
  }

  private String path(String name) {
    return temporary.resolve(name).toString();
  }

  /** Models without a tokenizer, rows of ids: nothing but ids goes through the chain. */
  @Test
  void theChainOfTokensEndsWithTheLoopsWeights() throws IOException {
    for (Path each : List.of(model, reward)) {
      for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
        Files.deleteIfExists(each.resolve(name));
      }
    }
    Files.delete(reward.resolve("config.yaml"));
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      rows.add("{\"input_ids\": [256, %d%s]}".formatted(97 + i, ", 32".repeat(1 + i % 3)));
    }
    Files.write(prompts, rows);
    List<String> common = List.of("--dtype", "fp32", "--device", "cpu");
    List<String> sampling = List.of("--max_new_tokens", "12");
    List<String> training =
        List.of("--per_device_train_batch_size", "4", "--learning_rate", "1e-2");
    List<String> order = List.of("--shuffle_dataset", "false");
    String loop =
        "raft --model_name_or_path MODEL --reward_model_name_or_path REWARD --dataset_path PROMPTS"
            + " --output_dir LOOP --num_raft_iterations 1 --samples_per_prompt 4"
            + " --keep_fraction 0.25 --epochs_per_iteration 2 --max_length 96";
    rlhf(words(loop, common, sampling, training, order));
    String generate =
        "generate --model_name_or_path MODEL --dataset_path PROMPTS --output_path RESPONSES"
            + " --num_return_sequences 4 --temperature 0.85";
    rlhf(words(generate, common, sampling));
    String score =
        "score --model_name_or_path REWARD --dataset_path RESPONSES --output_path SCORES";
    rlhf(words(score, common));
    String select =
        "select --dataset_path RESPONSES --scores_path SCORES --output_path SELECTED"
            + " --keep_fraction 0.25 --output_format tokens";
    rlhf(words(select));
    String sft =
        "sft --model_name_or_path MODEL --dataset_path SELECTED --output_dir CHAIN"
            + " --num_train_epochs 2 --lr_scheduler_type constant";
    rlhf(words(sft, common, training, order));
    SameRuns.assertSameFile(
        temporary.resolve("loop"), temporary.resolve("chain"), "model.safetensors");

    // By hand: the prompt's ids, then the response's, which alone are labels.
    JsonNode first = JSON.readTree(Files.readAllLines(temporary.resolve("selected")).get(0));
    JsonNode responses =
        JSON.readTree(Files.readAllLines(temporary.resolve("responses")).get(0)).path("responses");
    List<Integer> ids = new ArrayList<>(List.of(256, 97, 32));
    List<Integer> labels = new ArrayList<>(List.of(-100, -100, -100));
    for (JsonNode id : responses.path(first.path("sample").asInt()).path("token_ids")) {
      ids.add(id.asInt());
      labels.add(id.asInt());
    }
    assertEquals(JSON.valueToTree(ids), first.path("input_ids"));
    assertEquals(JSON.valueToTree(labels), first.path("labels"));
    // Responses serve as prompts, too.
    String again =
        "generate --model_name_or_path MODEL --dataset_path RESPONSES --output_path AGAIN"
            + " --num_return_sequences 4 --temperature 0.85";
    rlhf(words(again, common, sampling));
    assertEquals(
        Files.readString(temporary.resolve("responses")),
        Files.readString(temporary.resolve("again")));
  }

  /** The words of a command; those in capitals stand for paths. */
  @SafeVarargs
  private String[] words(String command, List<String>... more) {
    List<String> words = new ArrayList<>();
    for (String word : command.split(" ")) {
      words.add(
          switch (word) {
            case "MODEL" -> model.toString();
            case "REWARD" -> reward.toString();
            case "PROMPTS" -> prompts.toString();
            default -> word.matches("[A-Z]+") ? path(word.toLowerCase(Locale.ROOT)) : word;
          });
    }
    Arrays.asList(more).forEach(words::addAll);
    return words.toArray(String[]::new);
  }

  @Test
  void theChainEndsWithTheLoopsWeights() throws IOException {
    rlhf(
        "raft",
        "--model_name_or_path",
        model.toString(),
        "--reward_model_name_or_path",
        reward.toString(),
        "--dataset_path",
        prompts.toString(),
        "--output_dir",
        path("loop"),
        "--num_raft_iterations",
        "1",
        "--samples_per_prompt",
        "4",
        "--keep_fraction",
        "0.25",
        "--epochs_per_iteration",
        "2",
        "--max_new_tokens",
        "12",
        "--max_length",
        "96",
        "--per_device_train_batch_size",
        "4",
        "--learning_rate",
        "1e-2",
        "--dtype",
        "fp32",
        "--shuffle_dataset",
        "false");
    rlhf(
        "generate",
        "--model_name_or_path",
        model.toString(),
        "--dataset_path",
        prompts.toString(),
        "--output_path",
        path("responses.jsonl"),
        "--num_return_sequences",
        "4",
        "--max_new_tokens",
        "12",
        "--temperature",
        "0.85",
        "--dtype",
        "fp32");
    rlhf(
        "score",
        "--model_name_or_path",
        reward.toString(),
        "--dataset_path",
        path("responses.jsonl"),
        "--output_path",
        path("scores.jsonl"),
        "--dtype",
        "fp32");
    rlhf(
        "select",
        "--dataset_path",
        path("responses.jsonl"),
        "--scores_path",
        path("scores.jsonl"),
        "--output_path",
        path("selected.jsonl"),
        "--keep_fraction",
        "0.25",
        "--output_format",
        "tokens",
        "--model_name_or_path",
        model.toString());
    rlhf(
        "sft",
        "--model_name_or_path",
        model.toString(),
        "--dataset_path",
        path("selected.jsonl"),
        "--output_dir",
        path("chain"),
        "--num_train_epochs",
        "2",
        "--per_device_train_batch_size",
        "4",
        "--learning_rate",
        "1e-2",
        "--lr_scheduler_type",
        "constant",
        "--dtype",
        "fp32",
        "--shuffle_dataset",
        "false");
    SameRuns.assertSameFile(
        temporary.resolve("loop"), temporary.resolve("chain"), "model.safetensors");

    // The loop's own files serve as well: its samples for select, its selection for sft.
    rlhf(
        "select",
        "--dataset_path",
        path("loop/iterations/iteration-1/samples.jsonl"),
        "--output_path",
        path("again.jsonl"),
        "--keep_fraction",
        "0.25",
        "--output_format",
        "tokens");
    List<String> selected = Files.readAllLines(temporary.resolve("selected.jsonl"));
    List<String> again = Files.readAllLines(temporary.resolve("again.jsonl"));
    assertEquals(6, again.size());
    for (int i = 0; i < again.size(); i++) {
      JsonNode one = JSON.readTree(selected.get(i));
      JsonNode other = JSON.readTree(again.get(i));
      assertEquals(one.path("input_ids"), other.path("input_ids"));
      assertEquals(one.path("labels"), other.path("labels"));
      // The loop's reward is what score says of the text.
      assertEquals(one.path("score").asDouble(), other.path("score").asDouble(), 1e-5);
    }
    rlhf(
        "sft",
        "--model_name_or_path",
        model.toString(),
        "--dataset_path",
        path("loop/iterations/iteration-1/selected.jsonl"),
        "--output_dir",
        path("texts"),
        "--max_steps",
        "1",
        "--dtype",
        "fp32");
  }
}
