package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorInfo;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.train.StopSignal;

/** What cannot work ends with one line that names the cause, its exit code, and nothing written. */
class BadInputTest {
  @TempDir Path folder;
  private TinyRuns tiny;
  private Path output;

  @BeforeEach
  void files() throws IOException {
    tiny = new TinyRuns(folder);
    output = folder.resolve("out");
  }

  /** Runs, and requires one line of error with all of these parts. */
  private static List<String> fails(ExitCode code, List<String> words, String... parts) {
    CommandLineRun run = CommandLineRun.of(words);
    assertEquals(code, run.code(), run.errors().toString());
    assertEquals(1, run.errors().size(), run.errors().toString());
    for (String part : parts) {
      assertTrue(run.errors().get(0).contains(part), part + " in: " + run.errors());
    }
    assertTrue(run.errors().get(0).startsWith("error: "), run.errors().toString());
    assertFalse(run.errors().get(0).contains("Exception"), run.errors().toString());
    return run.errors();
  }

  /** As {@link #fails}, and requires that {@code validate} says the same. */
  private static void failsAsValidateSays(ExitCode code, List<String> words, String... parts) {
    List<String> look = new ArrayList<>(words);
    look.add(0, "validate");
    CommandLineRun looked = CommandLineRun.of(look);
    assertEquals(
        fails(code, words, parts),
        looked.errors().stream().filter(line -> !line.startsWith("warning: ")).toList());
    assertEquals(code, looked.code());
  }

  /** As {@link #failsAsValidateSays}, and requires that the output folder is absent or empty. */
  private void failsWithoutOutput(ExitCode code, List<String> words, String... parts)
      throws IOException {
    failsAsValidateSays(code, words, parts);
    if (Files.exists(output)) {
      assertEquals(Map.of(), content(output));
    }
  }

  private static Map<String, Integer> content(Path folder) throws IOException {
    Map<String, Integer> content = new TreeMap<>();
    try (Stream<Path> all = Files.walk(folder)) {
      for (Path file : all.filter(Files::isRegularFile).toList()) {
        content.put(folder.relativize(file).toString(), Arrays.hashCode(Files.readAllBytes(file)));
      }
    }
    return content;
  }

  private List<String> sft(String... more) {
    return tiny.train("sft", output, more);
  }

  private Path rows(String... lines) throws IOException {
    return Files.write(folder.resolve("bad.jsonl"), List.of(lines));
  }

  private Path weights() {
    return tiny.model.resolve("model.safetensors");
  }

  /** Writes the model's tensors anew, one of them replaced. */
  private void replace(TensorSource replacement) throws IOException {
    SafetensorsFile file = SafetensorsFile.open(weights());
    List<TensorSource> tensors = new ArrayList<>();
    for (TensorInfo info : file.tensors()) {
      tensors.add(
          info.name().equals(replacement.name())
              ? replacement
              : TensorSource.floats(
                  info.name(), StoredType.F32, info.shape(), file.readFloats(info.name())));
    }
    SafetensorsWriter.writeModel(tiny.model, tensors);
  }

  @Test
  void aModelThatIsMissing() throws IOException {
    Path absent = folder.resolve("absent");
    failsWithoutOutput(
        ExitCode.INPUT, sft("--model_name_or_path", absent.toString()), "absent", "no such");
    Files.delete(tiny.model.resolve("config.json"));
    failsWithoutOutput(ExitCode.INPUT, sft(), "config.json", "missing");
  }

  @Test
  void weightsThatAreTruncatedCorruptOrAbsent() throws IOException {
    byte[] whole = Files.readAllBytes(weights());
    Files.write(weights(), Arrays.copyOf(whole, whole.length - 100));
    failsWithoutOutput(ExitCode.INPUT, sft(), "model.safetensors");
    Files.write(weights(), Arrays.copyOf(whole, 5));
    failsWithoutOutput(ExitCode.INPUT, sft(), "model.safetensors");
    byte[] noise = whole.clone();
    Arrays.fill(noise, 8, 40, (byte) '#');
    Files.write(weights(), noise);
    failsWithoutOutput(ExitCode.INPUT, sft(), "model.safetensors");
    Files.delete(weights());
    failsWithoutOutput(ExitCode.INPUT, sft(), "no weights");
  }

  @Test
  void weightsOfAnotherShape() throws IOException {
    replace(TensorSource.floats("model.norm.weight", StoredType.F32, new long[] {8}, new float[8]));
    failsWithoutOutput(ExitCode.INPUT, sft(), "model.norm.weight", "[8]", "[16]");
  }

  @Test
  void aFamilyThatIsUnknown() throws IOException {
    Path config = tiny.model.resolve("config.json");
    Files.writeString(
        config,
        Files.readString(config)
            .replace("\"llama\"", "\"mamba\"")
            .replace("LlamaForCausalLM", "MambaForCausalLM"));
    failsWithoutOutput(ExitCode.INPUT, sft(), "config.json", "mamba", "llama");
  }

  @Test
  void settingsThatAreWrong() throws IOException {
    Path yaml = folder.resolve("run.yaml");
    Files.writeString(yaml, "seed: 1\n  x: [\n");
    failsWithoutOutput(ExitCode.CONFIG, sft("--config", yaml.toString()), "run.yaml line 2");
    Files.writeString(yaml, "learning_rat: 1\n");
    failsWithoutOutput(
        ExitCode.CONFIG, sft("--config", yaml.toString()), "learning_rat", "learning_rate");
    Files.writeString(yaml, "save_steps: often\n");
    failsWithoutOutput(
        ExitCode.CONFIG, sft("--config", yaml.toString()), "run.yaml", "save_steps", "often");
    failsWithoutOutput(ExitCode.CONFIG, sft("--packing", "maybe"), "packing", "true, false");
    failsWithoutOutput(ExitCode.CONFIG, sft("--sede", "1"), "--sede", "--seed");
  }

  @Test
  void rowsThatAreMalformedOrMissing() throws IOException {
    Path data = rows("{\"text\": \"fine\"}", "{\"text\": \"broken");
    failsWithoutOutput(ExitCode.INPUT, sft("--dataset_path", data.toString()), "bad.jsonl:2");
    data = rows("{\"question\": \"what\"}");
    failsWithoutOutput(ExitCode.INPUT, sft("--dataset_path", data.toString()), "bad.jsonl:1");
    data = rows("{\"input_ids\": [1, 2, 100000]}");
    failsWithoutOutput(
        ExitCode.INPUT, sft("--dataset_path", data.toString()), "bad.jsonl:1", "100000");
    data = rows();
    failsWithoutOutput(ExitCode.INPUT, sft("--dataset_path", data.toString()), "bad.jsonl");
    String absent = folder.resolve("absent.jsonl").toString();
    failsWithoutOutput(ExitCode.INPUT, sft("--dataset_path", absent), "absent.jsonl", "no such");
  }

  @Test
  void rowsOfAnotherMethod() throws IOException {
    failsWithoutOutput(
        ExitCode.INPUT,
        tiny.train("reward", output, "--dataset_path", tiny.rows.toString()),
        "rows.jsonl:1");
  }

  @Test
  void promptsThatAreLongerThanTheContext() throws IOException {
    Path data = rows("{\"prompt\": \"%s\"}".formatted("x".repeat(200)));
    Path responses = Files.writeString(folder.resolve("responses.jsonl"), "old");
    failsAsValidateSays(
        ExitCode.INPUT,
        generate(data),
        data
            + ":1: the prompt has 201 tokens, at most 127 are allowed: the model's context"
            + " (max_position_embeddings) is 128, and a response needs room");
    assertEquals("old", Files.readString(responses));
  }

  private List<String> generate(Path data) {
    List<String> words = new ArrayList<>(List.of("generate"));
    Collections.addAll(words, "--model_name_or_path", tiny.model.toString());
    Collections.addAll(words, "--dataset_path", data.toString(), "--device", "cpu");
    String responses = folder.resolve("responses.jsonl").toString();
    Collections.addAll(words, "--output_path", responses, "--dtype", "fp32");
    return words;
  }

  @Test
  void rowsThatAreLongerThanTheContext() throws IOException {
    Path data = rows("{\"text\": \"%s\"}".formatted("x".repeat(200)));
    failsWithoutOutput(
        ExitCode.INPUT,
        sft("--dataset_path", data.toString(), "--max_length", "1000", "--overlong", "error"),
        data + ":1: 202 tokens, but the model's context (max_position_embeddings) is 128");
  }

  @Test
  void aFolderThatCannotBeWritten() throws IOException {
    Path file = Files.writeString(folder.resolve("file"), "content");
    fails(ExitCode.ENVIRONMENT, tiny.train("sft", file.resolve("below")), "output_dir", "file");
    fails(ExitCode.ENVIRONMENT, tiny.train("sft", file), "output_dir", "file");
    assertEquals("content", Files.readString(file));
  }

  @Test
  void aFullDisk() throws IOException, InterruptedException {
    Path disk = Files.createDirectory(folder.resolve("disk"));
    assumeTrue(command("mount", "-t", "tmpfs", "-o", "size=160k", "none", disk.toString()) == 0);
    try {
      // Room for the configuration, not for weights, masters and moments.
      Path run = disk.resolve("run");
      fails(
          ExitCode.ENVIRONMENT,
          tiny.train("sft", run, "--save_steps", "2"),
          "cannot be written",
          "No space left");
      assertFalse(Files.exists(run.resolve("model.safetensors")));
      try (Stream<Path> entries = Files.list(run)) {
        List<String> names = entries.map(entry -> entry.getFileName().toString()).toList();
        assertTrue(
            names.stream().noneMatch(name -> name.startsWith("checkpoint-")), names.toString());
        assertTrue(names.stream().noneMatch(name -> name.startsWith(".")), names.toString());
      }
    } finally {
      assertEquals(0, command("umount", disk.toString()));
    }
  }

  private static int command(String... words) throws InterruptedException {
    try {
      Process process = new ProcessBuilder(words).redirectErrorStream(true).start();
      process.getInputStream().readAllBytes();
      return process.waitFor();
    } catch (IOException e) {
      return -1;
    }
  }

  @Test
  void anOutputFolderThatIsInUse() throws IOException {
    Files.createDirectory(output);
    Files.writeString(output.resolve("thesis.txt"), "mine");
    Map<String, Integer> before = content(output);
    fails(ExitCode.CONFIG, sft(), "output_dir", "thesis.txt", "overwrite_output_dir");
    fails(ExitCode.CONFIG, sft("--resume_from_checkpoint", "auto"), "thesis.txt");
    assertEquals(before, content(output));
  }

  @Test
  void anEarlierRunIsKeptUntilTheNewOneCanStart() throws IOException {
    assertEquals(ExitCode.DONE, CommandLineRun.of(sft("--max_steps", "2")).code());
    Map<String, Integer> before = content(output);
    fails(ExitCode.CONFIG, sft("--max_steps", "2"), "output_dir", "is not empty");
    Path broken = rows("{\"text\": \"broken");
    String[] again = {"--overwrite_output_dir", "true", "--dataset_path", broken.toString()};
    fails(ExitCode.INPUT, sft(again), "bad.jsonl:1");
    assertEquals(before, content(output));

    String resume = "--resume_from_checkpoint";
    fails(
        ExitCode.CONFIG,
        sft("--max_steps", "2", resume, "auto", "--learning_rate", "0.02"),
        "learning_rate",
        "0.01",
        "0.02");
    List<String> lines = new ArrayList<>(Files.readAllLines(tiny.rows));
    Collections.swap(lines, 0, 1);
    lines.set(2, "{\"text\": \"another\"}");
    Files.write(tiny.rows, lines);
    fails(ExitCode.CONFIG, sft("--max_steps", "2", resume, "auto"), "dataset_path", "started with");
    assertEquals(before, content(output));
  }

  @Test
  void numbersThatAreNotFinite() throws IOException {
    TensorInfo norm = SafetensorsFile.open(weights()).info("model.norm.weight");
    float[] huge = new float[16];
    Arrays.fill(huge, 3e38f);
    replace(TensorSource.floats(norm.name(), StoredType.F32, norm.shape(), huge));
    fails(
        ExitCode.NON_FINITE,
        sft("--gradient_accumulation_steps", "2"),
        "step 1",
        "non-finite-step-1.jsonl");
    // Two micro-batches of two rows.
    assertEquals(4, Files.readAllLines(output.resolve("non-finite-step-1.jsonl")).size());
    assertFalse(Files.exists(output.resolve("model.safetensors")));
    assertFalse(Files.exists(output.resolve("checkpoint-1")));
    assertEquals("", Files.readString(output.resolve("metrics.jsonl")));
  }

  private List<String> online(String verb, String... more) {
    List<String> words =
        new ArrayList<>(List.of("--total_episodes", "24", "--max_new_tokens", "4"));
    Collections.addAll(words, more);
    return tiny.train(verb, output, words.toArray(String[]::new));
  }

  @ParameterizedTest
  @ValueSource(strings = {"ppo", "grpo"})
  void onlineTrainingThatCannotStart(String verb) throws IOException {
    failsWithoutOutput(
        ExitCode.CONFIG, online(verb, "--num_layers_unfrozen", "99"), "num_layers_unfrozen", "99");
    if (verb.equals("ppo")) {
      failsWithoutOutput(ExitCode.CONFIG, online(verb, "--target_kl", "0"), "target_kl", "> 0");
    }
    Path data = rows("{\"prompt\": \"short\"}", "{\"prompt\": \"%s\"}".formatted("x".repeat(70)));
    failsWithoutOutput(
        ExitCode.INPUT,
        online(verb, "--dataset_path", data.toString(), "--overlong", "error"),
        data
            + ":2: the prompt has 71 tokens, at most 60 are allowed: max_length is 64, of which"
            + " max_new_tokens takes 4");
  }

  /**
   * A server of rewards, that of a text the number of its letters.
   *
   * @param trouble what comes instead of the rewards of the second roll-out; empty: the connection
   *     ends, and from then on the server is down for longer than anybody waits; null: nothing
   */
  private static HttpServer server(AtomicReference<String> trouble) throws IOException {
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
    // Not counted: where a machine is slow a roll-out may be asked for again.
    Set<JsonNode> rollouts = new HashSet<>();
    boolean[] down = new boolean[1];
    server.createContext(
        "/get_reward",
        exchange -> {
          try (exchange) {
            JsonNode texts = new JsonMapper().readTree(exchange.getRequestBody()).get("query");
            List<String> lengths = new ArrayList<>();
            texts.forEach(text -> lengths.add(text.asText().length() + ".0"));
            // A roll-out's rewards are asked for together, those of samples that are looked at
            // alone.
            if (lengths.size() > 1) {
              rollouts.add(texts);
            }
            String second = rollouts.size() < 2 ? null : trouble.get();
            if (second == null) {
              second = "{\"rewards\": " + lengths + "}";
            } else if (second.isEmpty() && !down[0]) {
              down[0] = true;
              return;
            }
            byte[] answer = second.getBytes(StandardCharsets.UTF_8);
            if (answer.length == 0) {
              exchange.getResponseHeaders().set("Retry-After", "999999");
              exchange.sendResponseHeaders(503, -1);
              return;
            }
            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
          }
        });
    server.start();
    return server;
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "ppo | '' | ENVIRONMENT | 127.0.0.1",
        "ppo | {\"rewards\": [NaN, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]} | NON_FINITE | NaN",
        "ppo | {\"rewards\": [1]} | INPUT | 12",
        "grpo | '' | ENVIRONMENT | 127.0.0.1",
        "grpo | {\"rewards\": [NaN, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]} | NON_FINITE | NaN",
        "grpo | {\"rewards\": [1]} | INPUT | 12"
      })
  void aServerOfRewardsThatFailsInTheMiddle(String verb, String second, ExitCode code, String part)
      throws IOException {
    AtomicReference<String> trouble = new AtomicReference<>(second);
    HttpServer server = server(trouble);
    try {
      List<String> words =
          online(
              verb,
              "--reward_model_name_or_path",
              "http://127.0.0.1:" + server.getAddress().getPort(),
              "--resume_from_checkpoint",
              "auto");
      fails(code, words, part);
      assertFalse(Files.exists(output.resolve("model.safetensors")));
      try (Stream<Path> entries = Files.list(output)) {
        assertEquals(
            1,
            entries
                .filter(entry -> entry.getFileName().toString().matches("checkpoint-\\d+"))
                .count());
      }
      trouble.set(null);
      assertEquals(ExitCode.DONE, CommandLineRun.of(words).code());
    } finally {
      server.stop(0);
    }
    assertTrue(Files.exists(output.resolve("model.safetensors")));
  }

  @Test
  @Timeout(300)
  void aServerOfRewardsThatIsNotThereIsNamedAtOnce() throws IOException {
    // Bound, so that nobody else gets the port, and not listening.
    try (Socket socket = new Socket()) {
      socket.bind(new InetSocketAddress("127.0.0.1", 0));
      String url = "http://127.0.0.1:" + socket.getLocalPort();
      StopSignal stop = new StopSignal();
      ByteArrayOutputStream screen =
          new ByteArrayOutputStream() {
            @Override
            public synchronized void write(byte[] bytes, int from, int length) {
              super.write(bytes, from, length);
              if (toString(StandardCharsets.UTF_8).contains("it is asked again")) {
                stop.request(ExitCode.TERMINATED);
              }
            }
          };
      PrintStream out = new PrintStream(screen, true, StandardCharsets.UTF_8);
      List<String> words = tiny.train("raft", output, "--reward_model_name_or_path", url);
      words.addAll(List.of("--reward_timeout_s", "4000"));
      ExitCode code = Main.run(Verbs.ALL, new Session(out, out, stop, words));
      String said = screen.toString(StandardCharsets.UTF_8);
      assertEquals(ExitCode.TERMINATED, code, said);
      // At once, so that nearly all of the 4,000 s are left.
      String expected =
          "Warning: "
              + url
              + "/get_reward: cannot be reached: the connection is refused; it is asked again, for"
              + " 1 h 0[0-7] min more \\(reward_timeout_s 4,000\\)";
      assertEquals(1, said.lines().filter(line -> line.matches(expected)).count(), said);
    }
  }

  @Test
  void idsBeyondTheVocabularyNameTheirColumn() throws IOException {
    Path data =
        rows(
            "{\"chosen_input_ids\": [1, 2], \"rejected_input_ids\": [1, 3]}",
            "{\"chosen_input_ids\": [1, 2], \"rejected_input_ids\": [1, 3, 259]}");
    failsWithoutOutput(
        ExitCode.INPUT,
        tiny.train("reward", output, "--dataset_path", data.toString()),
        data
            + ":2: rejected_input_ids: token id 259 at position 2 is outside the vocabulary of 259;"
            + " allowed: 0 to 258");
  }

  @Test
  void modelsOfTheOtherKind() throws IOException {
    failsWithoutOutput(
        ExitCode.INPUT,
        sft("--model_name_or_path", tiny.rewardModel.toString()),
        "expected a language model",
        "found a reward model");
    failsWithoutOutput(
        ExitCode.INPUT,
        tiny.train("raft", output, "--reward_model_name_or_path", tiny.model.toString()),
        "expected a reward model",
        "found a language model");
  }
}
