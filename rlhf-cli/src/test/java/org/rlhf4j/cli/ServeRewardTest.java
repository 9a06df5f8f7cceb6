package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;

/** {@code serve-reward} as a process, and what other verbs make of it. */
@Timeout(300)
@DisabledOnOs(OS.WINDOWS)
class ServeRewardTest {
  private static final JsonMapper JSON = new JsonMapper();
  private static final Pattern READY = Pattern.compile(" answers at (http://\\S+)");

  @TempDir Path temporary;
  private TinyRuns tiny;
  private Process server;
  private Path log;

  @BeforeEach
  void files() throws IOException {
    tiny = new TinyRuns(temporary);
    log = temporary.resolve("server.txt");
  }

  @AfterEach
  void end() {
    if (server != null) {
      server.destroyForcibly();
    }
  }

  private static Process start(Path log, String token, List<String> words) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"));
    command.add("-Dai.djl.offline=true");
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
    command.addAll(words);
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().put("OMP_NUM_THREADS", "1");
    builder.environment().remove("RLHF4J_REWARD_TOKEN");
    if (token != null) {
      builder.environment().put("RLHF4J_REWARD_TOKEN", token);
    }
    return builder.redirectOutput(log.toFile()).start();
  }

  private List<String> words(String... more) {
    List<String> words = new ArrayList<>(List.of("serve-reward", "--port", "0"));
    words.addAll(List.of("--model_name_or_path", tiny.rewardModel.toString()));
    words.addAll(List.of("--device", "cpu", "--dtype", "fp32"));
    words.addAll(List.of(more));
    return words;
  }

  private String ready() throws IOException, InterruptedException {
    while (true) {
      Matcher line = READY.matcher(Files.readString(log));
      if (line.find()) {
        return line.group(1);
      }
      assertTrue(server.isAlive(), Files.readString(log));
      TimeUnit.MILLISECONDS.sleep(20);
    }
  }

  private static HttpResponse<String> post(String url, String body)
      throws IOException, InterruptedException {
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(url)).POST(BodyPublishers.ofString(body)).build();
    return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
  }

  @Test
  void theScoresAreThoseOfScore() throws Exception {
    Files.writeString(
        tiny.rewardModel.resolve("config.yaml"), "append_eos: true\ntemplate: hh-hash\n");
    List<String> texts =
        List.of("\n\nHuman: hi\n\nAssistant: yes", "\n\nHuman: 漢字 😀\n\nAssistant: été </s>");
    List<String> rows = new ArrayList<>();
    for (String text : texts) {
      rows.add(JSON.writeValueAsString(JSON.createObjectNode().put("text", text)));
    }
    Path file = Files.write(temporary.resolve("texts.jsonl"), rows);
    Path scores = temporary.resolve("scores.jsonl");
    CommandLineRun score =
        CommandLineRun.of(
            List.of(
                "score",
                "--model_name_or_path",
                tiny.rewardModel.toString(),
                "--dataset_path",
                file.toString(),
                "--output_path",
                scores.toString(),
                "--device",
                "cpu",
                "--dtype",
                "fp32"));
    assertEquals(ExitCode.DONE, score.code(), score.errors().toString());
    server = start(log, null, words());
    String url = ready();
    String query = JSON.writeValueAsString(texts);
    JsonNode rewards =
        JSON.readTree(post(url, "{\"query\": " + query + "}").body()).path("rewards");
    List<String> expected = Files.readAllLines(scores);
    for (int i = 0; i < texts.size(); i++) {
      double found = rewards.path(i).asDouble();
      assertEquals(JSON.readTree(expected.get(i)).path("score").asDouble(), found, 1e-6);
    }

    HttpResponse<String> tooLong =
        post(url, "{\"query\": [\"a\", \"%s\"]}".formatted("x".repeat(127)));
    assertEquals(400, tooLong.statusCode());
    // BOS, the text, EOS.
    assertTrue(tooLong.body().contains("query[1] has 129 tokens"), tooLong.body());
    assertEquals(200, post(url, "{\"query\": [\"%s\"]}".formatted("x".repeat(126))).statusCode());

    server.destroy();
    assertEquals(ExitCode.TERMINATED.code(), server.waitFor(), Files.readString(log));
    String said = Files.readString(log);
    assertTrue(said.contains("Stopping: "), said);
    assertTrue(said.endsWith("serve-reward: 2 requests, 3 texts\n"), said);
  }

  @Test
  void aTokenOpensAnyAddressAndTheClientSendsIt() throws Exception {
    server = start(log, "s3cret", words("--host", "0.0.0.0"));
    String url = ready().replace("0.0.0.0", "127.0.0.1");
    assertTrue(Files.readString(log).contains("(fp32, with a token)"), Files.readString(log));
    assertEquals(401, post(url, "{\"query\": []}").statusCode());
    Path out = temporary.resolve("out");
    List<String> client =
        tiny.train("raft", out, "--reward_model_name_or_path", url, "--num_raft_iterations", "1");
    CommandLineRun refused = CommandLineRun.of(client);
    assertEquals(ExitCode.CONFIG, refused.code());
    assertTrue(refused.errors().toString().contains("answers 401"), refused.errors().toString());
    Path said = temporary.resolve("raft.txt");
    client.addAll(List.of("--overwrite_output_dir", "true"));
    assertEquals(
        ExitCode.DONE.code(), start(said, "s3cret", client).waitFor(), Files.readString(said));
    assertTrue(Files.exists(out.resolve("model.safetensors")));
    for (String name : List.of("config.yaml", "provenance.json", "README.md")) {
      assertTrue(!Files.readString(out.resolve(name)).contains("s3cret"), name);
    }
    // Not SIGINT: a process that is started in the background may have it ignored.
    server.destroy();
    assertEquals(ExitCode.TERMINATED.code(), server.waitFor(), Files.readString(log));
  }

  @Test
  void withoutATokenOtherAddressesAreRefused() {
    CommandLineRun refused = CommandLineRun.of(words("--host", "0.0.0.0"));
    assertEquals(ExitCode.CONFIG, refused.code());
    assertTrue(
        refused
            .errors()
            .get(0)
            .startsWith("error: host: 0.0.0.0 can be reached from other machines"),
        refused.errors().toString());
  }
}
