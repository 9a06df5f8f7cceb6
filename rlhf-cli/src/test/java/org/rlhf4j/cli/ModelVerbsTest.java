package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
import java.util.Collections;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.generate.GenerationConfig;
import org.rlhf4j.core.generate.GenerationRun;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.testing.TestTokenizers;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.StopSignal;

/** The verbs that run and show models, through the command line. */
class ModelVerbsTest {
  private static final JsonMapper JSON = new JsonMapper();
  private static final int BOS = TestTokenizers.BOS;

  @TempDir static Path models;
  @TempDir Path folder;
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();
  private Path output;

  @BeforeAll
  static void makeModels() throws IOException {
    TinyModel.causalLm(models.resolve("lm"), 1);
    TinyModel.rewardModel(models.resolve("reward"), 2);
  }

  @BeforeEach
  void paths() {
    output = folder.resolve("out/rows.jsonl");
  }

  private ExitCode run(String... words) {
    out.reset();
    err.reset();
    List<String> command = List.of(words);
    Session session =
        new Session(
            new PrintStream(out, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8),
            new StopSignal(),
            command);
    return Main.run(Verbs.ALL, session);
  }

  /** {@code generate} or {@code score} with fp32 on the processor. */
  private ExitCode verb(String verb, Path model, Path data, String... more) {
    List<String> words = new ArrayList<>(List.of(verb, "--model_name_or_path", model.toString()));
    Collections.addAll(words, "--dataset_path", data.toString());
    Collections.addAll(words, "--output_path", output.toString(), "--dtype", "fp32");
    Collections.addAll(words, "--device", "cpu");
    words.addAll(Arrays.asList(more));
    return run(words.toArray(String[]::new));
  }

  private List<JsonNode> done(ExitCode code) throws IOException {
    assertEquals(ExitCode.DONE, code, errors());
    try (Stream<Path> files = Files.list(output.getParent())) {
      assertEquals(List.of(output), files.toList());
    }
    List<JsonNode> rows = new ArrayList<>();
    for (String line : Files.readAllLines(output)) {
      rows.add(JSON.readTree(line));
    }
    return rows;
  }

  private String errors() {
    return err.toString(StandardCharsets.UTF_8);
  }

  private String shown() {
    return out.toString(StandardCharsets.UTF_8);
  }

  private Path data(String... lines) throws IOException {
    return Files.writeString(folder.resolve("data.jsonl"), String.join("\n", lines) + "\n");
  }

  private static Path lm() {
    return models.resolve("lm");
  }

  private static Path reward() {
    return models.resolve("reward");
  }

  private static List<String> names(JsonNode node) {
    List<String> names = new ArrayList<>();
    node.fieldNames().forEachRemaining(names::add);
    return names;
  }

  private static int[] ints(JsonNode node) {
    return JSON.convertValue(node, int[].class);
  }

  private static double[] doubles(JsonNode node) {
    return JSON.convertValue(node, double[].class);
  }

  /** One line that names all of this, an exit status, and nothing written. */
  private void assertRefused(ExitCode expected, ExitCode found, String... parts)
      throws IOException {
    assertEquals(expected, found, errors());
    assertEquals(1, errors().lines().count(), errors());
    for (String part : parts) {
      assertTrue(errors().contains(part), errors());
    }
    if (Files.isDirectory(output.getParent())) {
      try (Stream<Path> files = Files.list(output.getParent())) {
        assertEquals(List.of(), files.toList());
      }
    }
  }

  @Test
  void generateWritesOneRowPerPromptInItsOrder() throws IOException {
    Path data =
        data(
            "{\"prompt\": \"a long prompt, longer than the others\"}",
            "{\"input_ids\": [104, 105]}",
            "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}",
            "{\"prompt\": \"x\", \"completion\": \"not used\"}");
    List<JsonNode> rows =
        done(
            verb(
                "generate",
                lm(),
                data,
                "--num_return_sequences",
                "3",
                "--max_new_tokens",
                "6",
                "--batch_size",
                "2",
                "--template",
                "zephyr"));
    assertEquals(4, rows.size());
    for (int i = 0; i < 4; i++) {
      JsonNode row = rows.get(i);
      // Ids that the prompt's text does not give when it is read again are written out.
      boolean saidByText = i == 0 || i == 3;
      assertEquals(
          saidByText
              ? List.of("index", "prompt", "responses")
              : List.of("index", "prompt", "prompt_token_ids", "responses"),
          names(row));
      assertEquals(i, row.path("index").asInt());
      assertEquals(3, row.path("responses").size());
      for (JsonNode response : row.path("responses")) {
        assertEquals(List.of("text", "token_ids", "log_probs", "finish_reason"), names(response));
        int tokens = response.path("token_ids").size();
        assertEquals(tokens, response.path("log_probs").size());
        assertTrue(tokens == 6 || response.path("finish_reason").asText().equals("eos"));
      }
    }
    assertEquals("a long prompt, longer than the others", rows.get(0).path("prompt").asText());
    assertEquals("hi", rows.get(1).path("prompt").asText());
    assertArrayEquals(new int[] {104, 105}, ints(rows.get(1).path("prompt_token_ids")));
    // The end tokens of a template are tokens, and not the letters of their names.
    int[] rendered = ints(rows.get(2).path("prompt_token_ids"));
    assertEquals(2, Arrays.stream(rendered).filter(id -> id == TestTokenizers.EOS).count());
    assertEquals(
        "<|system|>\n</s>\n<|user|>\nhi</s>\n<|assistant|>\n", rows.get(2).path("prompt").asText());
    assertEquals("x", rows.get(3).path("prompt").asText());
    assertTrue(shown().contains("rows: 4 read, 4 kept, 0 dropped"), shown());
    assertTrue(shown().contains("generate: 4 prompts, 12 responses"), shown());
    assertTrue(shown().contains("length "), shown());

    String first = Files.readString(output);
    done(
        verb(
            "generate",
            lm(),
            data,
            "--num_return_sequences",
            "3",
            "--max_new_tokens",
            "6",
            "--batch_size",
            "64",
            "--template",
            "zephyr"));
    List<JsonNode> again = Files.readAllLines(output).stream().map(ModelVerbsTest::json).toList();
    for (int i = 0; i < 4; i++) {
      for (int k = 0; k < 3; k++) {
        assertEquals(
            rows.get(i).path("responses").get(k).path("token_ids"),
            again.get(i).path("responses").get(k).path("token_ids"));
      }
    }
    done(
        verb(
            "generate",
            lm(),
            data,
            "--num_return_sequences",
            "3",
            "--max_new_tokens",
            "6",
            "--batch_size",
            "2",
            "--template",
            "zephyr",
            "--seed",
            "43"));
    assertFalse(first.equals(Files.readString(output)), "another seed gives other responses");
  }

  /** More than are held in memory at once, in chunks of other sizes. */
  @Test
  void manyRowsAreWorkedOffInChunksThatChangeNothing() throws IOException {
    int count = 4200;
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      lines.add("{\"input_ids\": [%d%s]}".formatted(i % 256, ", 7".repeat(1 + i % 3)));
    }
    Path data = data(lines.toArray(String[]::new));
    String[] keys = {"--max_new_tokens", "2", "--batch_size", "500", "--num_return_sequences", "1"};
    List<JsonNode> one = done(verb("generate", lm(), data, keys));
    keys[5] = "2";
    List<JsonNode> two = done(verb("generate", lm(), data, keys));
    assertEquals(count, one.size());
    assertEquals(count, two.size());
    for (int i = 0; i < count; i++) {
      assertEquals(i, one.get(i).path("index").asInt());
      assertEquals(i % 256, one.get(i).path("prompt_token_ids").path(0).asInt());
      assertEquals(i, two.get(i).path("index").asInt());
      assertEquals(
          one.get(i).path("responses").get(0).path("token_ids"),
          two.get(i).path("responses").get(0).path("token_ids"));
    }
    assertTrue(shown().contains("generate: 4,200 prompts, 8,400 responses"), shown());

    List<JsonNode> scored = done(verb("score", reward(), data, "--batch_size", "500"));
    assertEquals(count, scored.size());
    Path last = data(lines.get(count - 1), lines.get(4095), lines.get(4096));
    List<JsonNode> alone = done(verb("score", reward(), last));
    int[] places = {count - 1, 4095, 4096};
    for (int i = 0; i < places.length; i++) {
      JsonNode row = scored.get(places[i]);
      assertEquals(places[i], row.path("index").asInt());
      assertEquals(alone.get(i).path("score").asDouble(), row.path("score").asDouble(), 1e-5);
    }
    // Responses of a prompt stay together where a chunk is full in their midst.
    List<String> responses = new ArrayList<>();
    for (int i = 0; i < 1400; i++) {
      String three = "{\"text\": \"a\"}, {\"text\": \"b%d\"}, {\"text\": \"c\"}".formatted(i);
      responses.add("{\"index\": %d, \"prompt\": \"x\", \"responses\": [%s]}".formatted(i, three));
    }
    scored =
        done(verb("score", lm(), data(responses.toArray(String[]::new)), "--batch_size", "500"));
    assertEquals(4200, scored.size());
    for (int i = 0; i < 4200; i++) {
      JsonNode row = scored.get(i);
      assertEquals(i / 3, row.path("index").asInt());
      assertEquals(i % 3, row.path("sample").asInt());
      int tokens = i % 3 == 1 ? 1 + String.valueOf(i / 3).length() : 1;
      assertEquals(tokens, row.path("num_tokens").asInt());
    }
  }

  private static JsonNode json(String line) {
    try {
      return JSON.readTree(line);
    } catch (IOException e) {
      throw new IllegalStateException(line, e);
    }
  }

  @Test
  void scoringFindsTheLogProbsOfGenerating() throws IOException {
    Path data = data("{\"prompt\": \"one\"}", "{\"prompt\": \"another one\"}");
    List<JsonNode> generated =
        done(verb("generate", lm(), data, "--num_return_sequences", "2", "--max_new_tokens", "20"));
    List<String> lines = new ArrayList<>();
    List<double[]> expected = new ArrayList<>();
    for (JsonNode row : generated) {
      byte[] prompt = row.path("prompt").asText().getBytes(StandardCharsets.UTF_8);
      for (JsonNode response : row.path("responses")) {
        List<Integer> ids = new ArrayList<>(List.of(BOS));
        List<Integer> labels = new ArrayList<>(List.of(-100));
        for (byte each : prompt) {
          ids.add((int) each);
          labels.add(-100);
        }
        for (int id : ints(response.path("token_ids"))) {
          ids.add(id);
          labels.add(id);
        }
        lines.add("{\"input_ids\": " + ids + ", \"labels\": " + labels + "}");
        expected.add(doubles(response.path("log_probs")));
      }
    }
    List<JsonNode> scored =
        done(verb("score", lm(), data(lines.toArray(String[]::new)), "--batch_size", "3"));
    for (int i = 0; i < expected.size(); i++) {
      assertArrayEquals(expected.get(i), doubles(scored.get(i).path("log_probs")), 4e-5);
    }
  }

  @Test
  void greedyTakesOneResponseAndEndIdsComeFromTheModel() throws IOException {
    Path data = data("{\"input_ids\": [1, 2, 3]}");
    assertRefused(
        ExitCode.CONFIG,
        verb("generate", lm(), data, "--do_sample", "false", "--num_return_sequences", "2"),
        "num_return_sequences 2 needs do_sample true");
    JsonNode endless =
        done(verb("generate", lm(), data, "--do_sample", "false", "--max_new_tokens", "9")).get(0);
    int[] ids = ints(endless.path("responses").get(0).path("token_ids"));
    assertEquals(9, ids.length);
    int first = 0;
    while (ids[first] != ids[4]) {
      first++;
    }
    // config.json names one end id, generation_config.json a list: the latter counts.
    Path copy = copy(lm());
    Files.writeString(
        copy.resolve("generation_config.json"), "{\"eos_token_id\": [258, " + ids[4] + "]}");
    JsonNode ended =
        done(verb("generate", copy, data, "--do_sample", "false", "--max_new_tokens", "9")).get(0);
    JsonNode response = ended.path("responses").get(0);
    assertArrayEquals(Arrays.copyOf(ids, first + 1), ints(response.path("token_ids")));
    assertEquals("eos", response.path("finish_reason").asText());
    JsonNode ignored =
        done(verb(
                "generate",
                copy,
                data,
                "--do_sample",
                "false",
                "--max_new_tokens",
                "9",
                "--ignore_eos",
                "true"))
            .get(0);
    assertArrayEquals(ids, ints(ignored.path("responses").get(0).path("token_ids")));
    Files.writeString(copy.resolve("generation_config.json"), "{\"eos_token_id\": 259}");
    Files.delete(output);
    assertRefused(ExitCode.INPUT, verb("generate", copy, data), "eos_token_id is 259", "0 to 258");
  }

  @Test
  void keysThatAreNotGivenComeFromTheModelIfAskedFor() throws IOException {
    Path copy = copy(lm());
    Files.writeString(
        copy.resolve("generation_config.json"),
        "{\"do_sample\": false, \"max_new_tokens\": 5, \"num_beams\": 4, \"pad_token_id\": 258}");
    Path data = data("{\"input_ids\": [1, 2, 3]}");
    String[] asked = {"--use_generation_config", "true"};
    List<JsonNode> rows = done(verb("generate", copy, data, asked));
    JsonNode response = rows.get(0).path("responses").get(0);
    assertEquals(5, response.path("token_ids").size());
    assertEquals(
        List.of("warning: " + copy.resolve("generation_config.json") + ": num_beams is not taken"),
        errors().lines().toList());
    JsonNode greedy =
        done(verb("generate", lm(), data, "--do_sample", "false", "--max_new_tokens", "5")).get(0);
    assertEquals(greedy.path("responses"), rows.get(0).path("responses"));
    // What is given counts, and without being asked for nothing is taken.
    rows = done(verb("generate", copy, data, "--use_generation_config=true", "--max_new_tokens=3"));
    assertEquals(3, rows.get(0).path("responses").get(0).path("token_ids").size());
    rows = done(verb("generate", copy, data));
    assertTrue(rows.get(0).path("responses").get(0).path("token_ids").size() > 5);
    // From Java as from the command line.
    GenerationConfig config =
        Config.of(GenerationConfig.class)
            .set("model_name_or_path", copy)
            .set("dataset_path", data)
            .set("output_path", output)
            .set("use_generation_config", true)
            .set("dtype", "fp32")
            .build();
    new GenerationRun(config, Console.silent()).run();
    assertEquals(greedy.path("responses"), json(Files.readString(output)).path("responses"));
    Files.writeString(copy.resolve("generation_config.json"), "{\"temperature\": 0}");
    Files.delete(output);
    assertRefused(
        ExitCode.CONFIG,
        verb("generate", copy, data, asked),
        "generation_config.json: temperature: found 0, allowed: a number > 0");
  }

  @Test
  void withoutATokenizerRowsOfIdsWork() throws IOException {
    Path copy = copy(lm());
    Files.delete(copy.resolve("tokenizer.json"));
    Path data = data("{\"input_ids\": [1, 2, 3]}");
    JsonNode row = done(verb("generate", copy, data, "--max_new_tokens", "4")).get(0);
    assertEquals(List.of("index", "prompt_token_ids", "responses"), names(row));
    assertArrayEquals(new int[] {1, 2, 3}, ints(row.path("prompt_token_ids")));
    assertEquals("", row.path("responses").get(0).path("text").asText());
    assertEquals(2, done(verb("score", copy, data)).get(0).path("num_tokens").asInt());
    Files.delete(output);
    assertRefused(
        ExitCode.CONFIG, verb("generate", copy, data, "--stop", "x"), "stop", "tokenizer");
    for (String verb : List.of("generate", "score")) {
      Path text = data("{\"input_ids\": [1, 2]}", "{\"prompt\": \"a\", \"completion\": \"b\"}");
      assertRefused(
          ExitCode.INPUT, verb(verb, copy, text), text + ":2: ", "tokenizer", "input_ids");
    }
  }

  private Path copy(Path model) throws IOException {
    Path copy = Files.createDirectories(folder.resolve("copy"));
    try (Stream<Path> files = Files.list(model)) {
      for (Path file : files.toList()) {
        Files.copy(file, copy.resolve(file.getFileName()));
      }
    }
    return copy;
  }

  @Test
  void scoreTakesEveryFormOfRow() throws IOException {
    Path data =
        data(
            "{\"text\": \"ab\"}",
            "{\"prompt\": \"ab\", \"completion\": \"cde\"}",
            "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"},"
                + " {\"role\": \"assistant\", \"content\": \"yo\"}]}",
            "{\"prompt\": \"ab\", \"chosen\": \"c\", \"rejected\": \"de\"}",
            "{\"chosen\": \"\\n\\nHuman: a\\n\\nAssistant: b\","
                + " \"rejected\": \"\\n\\nHuman: a\\n\\nAssistant: cd\"}",
            "{\"input_ids\": [256, 97, 98]}",
            "{\"input_ids\": [256, 97, 98, 99, 100, 101],"
                + " \"labels\": [-100, -100, -100, 99, 100, 101]}",
            "{\"chosen_input_ids\": [256, 97], \"rejected_input_ids\": [256, 97]}");
    List<JsonNode> rows = done(verb("score", lm(), data, "--template", "zephyr"));
    assertEquals(8, rows.size());
    List<String> numbers =
        List.of("log_probs", "sum_log_prob", "mean_log_prob", "perplexity", "num_tokens");
    List<String> single = new ArrayList<>(List.of("index"));
    single.addAll(numbers);
    // Tokens by hand: a byte each; </s> ends the assistant's turn.
    int[][] tokens = {{2}, {3}, {"yo".length() + 1}, {1, 2}, {2, 3}, {2}, {3}, {1, 1}};
    for (int i = 0; i < rows.size(); i++) {
      JsonNode row = rows.get(i);
      assertEquals(i, row.path("index").asInt());
      if (tokens[i].length == 1) {
        assertEquals(single, names(row));
        assertNumbers(row, tokens[i][0]);
      } else {
        assertEquals(List.of("index", "chosen", "rejected"), names(row));
        assertEquals(numbers, names(row.path("chosen")));
        assertNumbers(row.path("chosen"), tokens[i][0]);
        assertNumbers(row.path("rejected"), tokens[i][1]);
      }
    }
    // Equal ids are scored equally, however they were written down.
    double[] text = doubles(rows.get(0).path("log_probs"));
    assertArrayEquals(text, doubles(rows.get(5).path("log_probs")), 1e-5);
    double[] completion = doubles(rows.get(1).path("log_probs"));
    assertArrayEquals(completion, doubles(rows.get(6).path("log_probs")), 1e-5);
    assertEquals(
        completion[0], rows.get(3).path("chosen").path("log_probs").get(0).asDouble(), 1e-5);
    assertTrue(shown().contains("score: 8 rows, "), shown());

    List<JsonNode> alone =
        done(verb("score", lm(), data, "--template", "zephyr", "--batch_size", "1"));
    for (int i = 0; i < rows.size(); i++) {
      JsonNode a = tokens[i].length == 1 ? rows.get(i) : rows.get(i).path("rejected");
      JsonNode b = tokens[i].length == 1 ? alone.get(i) : alone.get(i).path("rejected");
      assertArrayEquals(doubles(a.path("log_probs")), doubles(b.path("log_probs")), 1e-5);
    }
  }

  private static void assertNumbers(JsonNode of, int tokens) {
    double[] logProbs = doubles(of.path("log_probs"));
    double sum = Arrays.stream(logProbs).sum();
    assertEquals(tokens, logProbs.length);
    assertEquals(tokens, of.path("num_tokens").asInt());
    assertEquals(sum, of.path("sum_log_prob").asDouble(), 1e-5);
    assertEquals(sum / tokens, of.path("mean_log_prob").asDouble(), 1e-5);
    double perplexity = Math.exp(-sum / tokens);
    assertEquals(perplexity, of.path("perplexity").asDouble(), 1e-5 * perplexity);
  }

  @Test
  void aRewardModelScoresRowsAndPairs() throws IOException {
    Path data =
        data(
            "{\"text\": \"abc\"}",
            "{\"prompt\": \"ab\"}",
            "{\"prompt\": \"ab\", \"chosen\": \"c\", \"rejected\": \"\\u00e4\"}",
            "{\"chosen_input_ids\": [256, 97, 98], \"rejected_input_ids\": [256, 97, 98, 99]}",
            "{\"input_ids\": [97]}");
    List<JsonNode> rows = done(verb("score", reward(), data));
    assertEquals(List.of("index", "score"), names(rows.get(0)));
    assertEquals(List.of("index", "score"), names(rows.get(4)));
    for (int i : new int[] {2, 3}) {
      JsonNode row = rows.get(i);
      assertEquals(List.of("index", "chosen_score", "rejected_score", "margin"), names(row));
      assertEquals(
          row.path("chosen_score").asDouble() - row.path("rejected_score").asDouble(),
          row.path("margin").asDouble(),
          1e-6);
    }
    double abc = rows.get(0).path("score").asDouble();
    double ab = rows.get(1).path("score").asDouble();
    assertEquals(abc, rows.get(2).path("chosen_score").asDouble(), 1e-5);
    assertEquals(ab, rows.get(3).path("chosen_score").asDouble(), 1e-5);
    assertEquals(abc, rows.get(3).path("rejected_score").asDouble(), 1e-5);
    assertTrue(Math.abs(abc - ab) > 1e-3);

    double ended =
        done(verb("score", reward(), data, "--append_eos", "true")).get(0).path("score").asDouble();
    List<JsonNode> byHand =
        done(verb("score", reward(), data("{\"input_ids\": [256, 97, 98, 99, 257]}")));
    assertEquals(byHand.get(0).path("score").asDouble(), ended, 1e-5);
  }

  @Test
  void eachResponseOfARowIsScoredBehindItsPrompt() throws IOException {
    Path responses =
        data(
            "{\"index\": 4, \"prompt\": \"ab \", \"responses\": [{\"text\": \" c\", \"token_ids\": [1]},"
                + " {\"text\": \"de\", \"token_ids\": [2, 3]}]}",
            "{\"text\": \"ab\"}",
            "{\"index\": 2, \"prompt\": \"x\", \"responses\": [{\"text\": \"y\"}]}");
    Path texts =
        Files.writeString(
            folder.resolve("texts.jsonl"),
            """
            {"prompt": "ab ", "completion": " c"}
            {"prompt": "ab ", "completion": "de"}
            {"text": "ab"}
            {"prompt": "x", "completion": "y"}
            """);
    int[][] places = {{4, 0}, {4, 1}, {1, -1}, {2, 0}};
    for (Path model : List.of(lm(), reward())) {
      List<JsonNode> found = done(verb("score", model, responses, "--batch_size", "2"));
      List<JsonNode> expected = done(verb("score", model, texts));
      assertEquals(4, found.size());
      for (int i = 0; i < 4; i++) {
        assertEquals(places[i][0], found.get(i).path("index").asInt());
        assertEquals(places[i][1], found.get(i).path("sample").asInt(-1));
        String number = model.equals(lm()) ? "sum_log_prob" : "score";
        assertEquals(
            expected.get(i).path(number).asDouble(), found.get(i).path(number).asDouble(), 1e-5);
        assertTrue(found.get(i).has(number));
      }
    }
    // Without a tokenizer the ids count.
    Path copy = copy(reward());
    Files.delete(copy.resolve("tokenizer.json"));
    Path ids =
        data(
            "{\"index\": 0, \"prompt\": \"\", \"prompt_token_ids\": [256, 97], \"responses\":"
                + " [{\"text\": \"\", \"token_ids\": [98]}, {\"token_ids\": [99, 257]}]}",
            "{\"index\": 1, \"input_ids\": [256], \"responses\": [{\"token_ids\": [97, 98]}]}");
    List<JsonNode> found = done(verb("score", copy, ids));
    Path whole = data("{\"input_ids\": [256, 97, 98]}", "{\"input_ids\": [256, 97, 99, 257]}");
    List<JsonNode> expected = done(verb("score", copy, whole));
    int[] same = {0, 1, 0};
    for (int i = 0; i < 3; i++) {
      assertEquals(
          expected.get(same[i]).path("score").asDouble(),
          found.get(i).path("score").asDouble(),
          1e-5);
    }
    Files.delete(output);
    String[] refused = {
      "{\"index\": 0, \"responses\": [{\"text\": \"a\"}]}@responses without their prompt",
      "{\"prompt\": \"a\", \"responses\": [{\"text\": \"a\"}]}@needs an integer index",
      "{\"index\": 0, \"prompt\": \"a\", \"responses\": []}@at least one response",
      "{\"index\": 0, \"prompt\": \"a\", \"responses\": [{}]}@responses[0].text is missing",
      "{\"index\": 0, \"prompt\": \"a\", \"responses\": [{\"text\": \"\"}]}@responses[0]: no token"
    };
    for (String each : refused) {
      Path bad = data(each.split("@"));
      Files.writeString(bad, each.split("@")[0] + "\n");
      assertRefused(ExitCode.INPUT, verb("score", lm(), bad), bad + ":1: ", each.split("@")[1]);
    }
  }

  @Test
  void aRewardModelReadsTextsAsItWasTrained() throws IOException {
    Path copy = copy(reward());
    Path data = data("{\"text\": \"\\n\\nHuman: hi\\n\\nAssistant: yo\"}");
    double plain = done(verb("score", copy, data)).get(0).path("score").asDouble();
    double explicit =
        done(verb("score", copy, data, "--append_eos", "true", "--template", "hh-hash"))
            .get(0)
            .path("score")
            .asDouble();
    Files.writeString(
        copy.resolve("config.yaml"), "append_eos: true\ntemplate: hh-hash\nseed: 1\n");
    assertEquals(explicit, done(verb("score", copy, data)).get(0).path("score").asDouble(), 1e-6);
    String file = copy.resolve("config.yaml").toString();
    assertTrue(
        shown().contains("score: append_eos true, template hh-hash; " + file + " says"), shown());
    // Keys that are given count, even where they say what would be the default elsewhere.
    double given =
        done(verb("score", copy, data, "--append_eos", "false", "--template", "model"))
            .get(0)
            .path("score")
            .asDouble();
    assertEquals(plain, given, 1e-6);
    assertTrue(Math.abs(plain - explicit) > 1e-4);
    Files.delete(output);
    Files.writeString(copy.resolve("config.yaml"), "template: other\n");
    assertRefused(
        ExitCode.INPUT, verb("score", copy, data), "config.yaml: template other is not known");
  }

  @Test
  void scoresAreHuggingFaces() throws IOException {
    Path gqa = Shared.path("golden/models/llama-gqa");
    SafetensorsFile golden = SafetensorsFile.open(gqa.resolve("golden.safetensors"));
    List<int[]> rows = rows(golden, "input_ids", "lengths");
    List<JsonNode> found = done(verb("score", gqa, data(lines(rows)), "--batch_size", "2"));
    float[] expected = golden.readFloats("token_logprobs");
    for (int b = 0; b < rows.size(); b++) {
      double[] logProbs = doubles(found.get(b).path("log_probs"));
      assertEquals(rows.get(b).length - 1, logProbs.length);
      for (int t = 0; t < logProbs.length; t++) {
        assertEquals(expected[b * (expected.length / rows.size()) + t], logProbs[t], 1e-4);
      }
    }
    Path scored = Shared.path("golden/models/llama-reward");
    golden = SafetensorsFile.open(scored.resolve("golden.safetensors"));
    found = done(verb("score", scored, data(lines(rows(golden, "input_ids", "lengths")))));
    for (int b = 0; b < found.size(); b++) {
      assertEquals(golden.readFloats("scores")[b], found.get(b).path("score").asDouble(), 2e-5);
    }
  }

  private static List<int[]> rows(SafetensorsFile golden, String ids, String lengths) {
    long[] flat = golden.readLongs(ids);
    long[] length = golden.readLongs(lengths);
    List<int[]> rows = new ArrayList<>();
    for (int b = 0; b < length.length; b++) {
      int from = b * (flat.length / length.length);
      rows.add(
          Arrays.stream(flat, from, from + (int) length[b]).mapToInt(id -> (int) id).toArray());
    }
    return rows;
  }

  private static String[] lines(List<int[]> rows) {
    return rows.stream()
        .map(ids -> "{\"input_ids\": " + Arrays.toString(ids) + "}")
        .toArray(String[]::new);
  }

  @Test
  void rowsThatCannotBeUsedAreNamedAndCounted() throws IOException {
    Path data =
        data(
            "{\"input_ids\": [1, 2, 3]}",
            "{\"input_ids\": [1, 259, 3]}",
            "{\"input_ids\": [1, 2",
            "{\"input_ids\": [4, 5, 6]}");
    for (String verb : List.of("generate", "score")) {
      assertRefused(
          ExitCode.INPUT,
          verb(verb, lm(), data),
          "2 of 4 rows are unusable",
          data + ":2: token id 259 at position 1 is outside the vocabulary of 259",
          data + ":3: broken JSON");
    }
    for (String verb : List.of("generate", "score")) {
      List<JsonNode> rows = done(verb(verb, lm(), data, "--max_bad_rows", "2"));
      assertEquals(List.of(0, 3), rows.stream().map(row -> row.path("index").asInt()).toList());
      assertTrue(shown().contains("rows: 4 read, 2 kept, 2 dropped"), shown());
      assertTrue(shown().contains("bad row " + data + ":2: "), shown());
    }
    Files.delete(output);
    Path single = data("{\"input_ids\": [1]}");
    assertRefused(ExitCode.INPUT, verb("score", lm(), single), single + ":1: no token to predict");
    Path prompt = data("{\"prompt\": \"a\"}");
    assertRefused(ExitCode.INPUT, verb("score", lm(), prompt), prompt + ":1: ");
  }

  @Test
  void longRowsAreAnErrorUnlessTheyMayBeCutOrLeftOut() throws IOException {
    Path data =
        data(
            "{\"input_ids\": [1, 2, 3]}",
            "{\"input_ids\": [1, 2, 3, 4, 5, 6]}",
            "{\"chosen_input_ids\": [1, 2], \"rejected_input_ids\": [1, 2, 3, 4, 5]}");
    String[] limit = {"--max_length", "4"};
    assertRefused(
        ExitCode.INPUT,
        verb("score", lm(), data, limit),
        data + ":2: 6 tokens, but max_length is 4 (overlong: error)");
    List<JsonNode> rows =
        done(verb("score", lm(), data, "--max_length", "4", "--overlong", "drop"));
    assertEquals(1, rows.size());
    assertTrue(shown().contains("dropped 2: longer than max_length"), shown());
    rows = done(verb("score", lm(), data, "--max_length", "4", "--overlong", "truncate"));
    assertEquals(3, rows.get(1).path("num_tokens").asInt());
    assertEquals(3, rows.get(2).path("rejected").path("num_tokens").asInt());
    assertTrue(shown().contains("2 truncated"), shown());

    Files.delete(output);
    int[] tooLong = new int[TinyModel.POSITIONS + 1];
    Path beyond = data("{\"input_ids\": " + Arrays.toString(tooLong) + "}");
    assertRefused(
        ExitCode.INPUT,
        verb("score", lm(), beyond),
        beyond + ":1: 129 tokens",
        "the model's context (max_position_embeddings) is 128");
    assertRefused(
        ExitCode.CONFIG,
        verb("score", lm(), data, "--max_length", "129"),
        "max_length: 129",
        "max_position_embeddings 128");
  }

  @Test
  void aPromptMustLeaveRoomInTheContext() throws IOException {
    int[] full = new int[TinyModel.POSITIONS];
    Path data = data("{\"input_ids\": [1]}", "", "{\"input_ids\": " + Arrays.toString(full) + "}");
    assertRefused(
        ExitCode.INPUT,
        verb("generate", lm(), data, "--max_bad_rows", "5"),
        data + ":3: the prompt has 128 tokens, at most 127 are allowed");
    int[] nearly = new int[TinyModel.POSITIONS - 1];
    List<JsonNode> rows =
        done(verb("generate", lm(), data("{\"input_ids\": " + Arrays.toString(nearly) + "}")));
    JsonNode response = rows.get(0).path("responses").get(0);
    assertEquals(1, response.path("token_ids").size());
  }

  @ParameterizedTest
  @ValueSource(strings = {"generate", "score"})
  void unusableFilesAndFoldersAreNamed(String verb) throws IOException {
    Path data = data("{\"input_ids\": [1, 2]}");
    assertRefused(
        ExitCode.INPUT, verb(verb, folder.resolve("none"), data), "no such folder", "none");
    assertRefused(ExitCode.INPUT, verb(verb, lm(), folder.resolve("none.jsonl")), "none.jsonl");
    Path empty = Files.writeString(folder.resolve("empty.jsonl"), "\n");
    assertRefused(ExitCode.INPUT, verb(verb, lm(), empty), empty + ": holds no rows");
    assertRefused(
        ExitCode.CONFIG,
        run(verb, "--model_name_or_path=" + lm(), "--dataset_path=" + data),
        "output_path: is required");

    Path copy = copy(lm());
    Path weights = copy.resolve("model.safetensors");
    byte[] bytes = Files.readAllBytes(weights);
    Files.write(weights, Arrays.copyOf(bytes, bytes.length - 10));
    assertRefused(ExitCode.INPUT, verb(verb, copy, data), weights.toString());
    // An output that cannot be written is found out before the model is looked at.
    Path blocked = Files.writeString(folder.resolve("file"), "");
    output = blocked.resolve("rows.jsonl");
    assertRefused(
        ExitCode.ENVIRONMENT, verb(verb, copy, data), output.toString(), "cannot be written");
    output = Files.createDirectory(folder.resolve("taken"));
    assertEquals(ExitCode.ENVIRONMENT, verb(verb, copy, data), errors());
    output = folder.resolve("out/rows.jsonl");
    Files.write(weights, bytes);
    String config = Files.readString(copy.resolve("config.json"));
    Files.writeString(copy.resolve("config.json"), config.replace("\"llama\"", "\"mamba\""));
    assertRefused(
        ExitCode.INPUT, verb(verb, copy, data), "model_type \"mamba\" is not supported", "llama");
    Files.writeString(copy.resolve("config.json"), "{");
    assertRefused(ExitCode.INPUT, verb(verb, copy, data), "config.json", "no valid JSON");
  }

  @Test
  void aRewardModelDoesNotGenerate() throws IOException {
    Path data = data("{\"input_ids\": [1, 2]}");
    assertRefused(ExitCode.INPUT, verb("generate", reward(), data), "expected a language model");
  }

  @Test
  void inspectShowsAModel() throws IOException {
    assertEquals(ExitCode.DONE, run("inspect", lm().toString()), errors());
    String text = shown().replaceAll(" +", " ");
    // By hand: 259 · 16 embedding; block: 16² + 2 · 8 · 16 + 16² + 3 · 24 · 16 + 2 · 16.
    for (String fact :
        List.of(
            "architecture LlamaForCausalLM",
            "family llama",
            "layers 2",
            "width 16, MLP 24",
            "heads 4 of width 4, sharing 2 key/value heads",
            "vocabulary 259",
            "context 128 tokens",
            "embedding 4,144",
            "blocks 3,904, 2 of 1,952",
            "other 16",
            "head 0, tied to the embedding",
            "total 8,064 (8.1K)",
            "stored 31.5 KiB of F32 in model.safetensors",
            "BOS 256 <s>",
            "EOS 257 </s>",
            "PAD 258 <pad>",
            "UNK none",
            "chat template none")) {
      assertTrue(text.contains(" " + fact + "\n"), fact + " in\n" + text);
    }
    assertEquals(ExitCode.DONE, run("inspect", "--model_name_or_path", reward().toString()));
    text = shown().replaceAll(" +", " ");
    assertTrue(text.contains("kind reward model, one score per text\n"), text);
    assertTrue(text.contains("head 16\n"), text);
    assertEquals(ExitCode.DONE, run("inspect", "" + Shared.path("golden/models/llama-gqa")));
    text = shown().replaceAll(" +", " ");
    assertTrue(text.contains("head 3,104\n"), "97 · 32 of its own in " + text);
    assertEquals(ExitCode.INPUT, run("inspect", folder.resolve("none").toString()));
    assertEquals(ExitCode.INPUT, run("inspect", folder.toString()));
    assertTrue(errors().contains("config.json is missing"), errors());
  }

  @Test
  void sftTrainsAndInspectShowsWhereItsFoldersComeFrom() throws IOException {
    Path data = data("{\"text\": \"abcdef\"}", "{\"text\": \"bcdefg\"}", "{\"text\": \"cdefgh\"}");
    Path run = folder.resolve("run");
    ExitCode code =
        run(
            "sft",
            "--model_name_or_path=" + lm(),
            "--dataset_path=" + data,
            "--output_dir=" + run,
            "--per_device_train_batch_size=2",
            "--max_steps=3",
            "--save_steps=2",
            "--dtype=fp32",
            "--device=cpu",
            "--seed=5");
    assertEquals(ExitCode.DONE, code, errors());
    assertEquals(ExitCode.DONE, run("inspect", run.toString()), errors());
    String text = shown().replaceAll(" +", " ");
    for (String fact :
        List.of(
            "made by sft",
            "start model " + lm(),
            "train data " + data + ", 3 rows",
            "from step 0, to step 3 in ")) {
      assertTrue(text.contains(fact), fact + " in\n" + text);
    }
    assertTrue(text.contains("seed 5"), text);
    assertEquals(ExitCode.DONE, run("inspect", run.resolve("checkpoint-2").toString()), errors());
    text = shown().replaceAll(" +", " ");
    assertTrue(text.contains("step 2 of 3\n"), text);
    assertTrue(text.contains("epoch 1\n"), text);
    assertTrue(text.contains("made by sft"), text);
    // What was trained is a model for the other verbs.
    assertEquals(1, done(verb("score", run, data("{\"text\": \"abc\"}"))).size());
  }
}
