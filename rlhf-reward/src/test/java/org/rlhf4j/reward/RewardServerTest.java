package org.rlhf4j.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CopyOnWriteArraySet;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.StopSignal;

@Timeout(300)
class RewardServerTest {
  private static final JsonMapper JSON = new JsonMapper();
  private static final int LIMIT = 1 << 20;

  /** Scores by length; some texts have their troubles. */
  private static double[] lengths(List<String> texts) {
    for (int i = 0; i < texts.size(); i++) {
      switch (texts.get(i)) {
        case "long" -> throw RlhfException.input("query[" + i + "] is too long");
        case "nan" -> throw RlhfException.nonFinite("the model computes NaN");
        case "disk" -> throw RlhfException.environment("the disk is gone", null);
        case "defect" -> throw new IllegalStateException("a secret of ours");
        default -> {}
      }
    }
    return texts.stream()
        .mapToDouble(text -> text.equals("1/0") ? 1 / 0.0 : text.length() + 0.1f)
        .toArray();
  }

  private final HttpClient client = HttpClient.newHttpClient();
  private final ByteArrayOutputStream said = new ByteArrayOutputStream();
  private final StopSignal stop = new StopSignal();
  private final Held held = new Held();
  private RewardServer server;
  private Thread serving;

  private void open(String token, RewardServer.Scores scores) {
    Console console = Console.plain(new PrintStream(said, true, StandardCharsets.UTF_8), 100);
    InetSocketAddress address = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
    server = RewardServer.open(new RewardServer.Options(address, LIMIT, token), scores, console);
    serving = new Thread(() -> server.serve(stop::requested));
    serving.start();
  }

  @AfterEach
  void end() throws InterruptedException {
    stop.request(ExitCode.TERMINATED);
    held.goOn.countDown();
    if (server != null) {
      serving.join();
      server.close();
    }
  }

  private HttpRequest.Builder request(String path) {
    return HttpRequest.newBuilder(server.url().resolve(path)).timeout(Duration.ofMinutes(4));
  }

  private HttpResponse<String> send(HttpRequest.Builder request)
      throws IOException, InterruptedException {
    return client.send(request.build(), HttpResponse.BodyHandlers.ofString());
  }

  private HttpResponse<String> post(String body) throws IOException, InterruptedException {
    return send(request("/get_reward").POST(BodyPublishers.ofString(body)));
  }

  private CompletableFuture<HttpResponse<String>> postAsync(HttpRequest.Builder to, String body) {
    return client.sendAsync(
        to.POST(BodyPublishers.ofString(body)).build(), HttpResponse.BodyHandlers.ofString());
  }

  /** Scores that are computed once the test says so. */
  private static final class Held implements RewardServer.Scores {
    private final CountDownLatch begun = new CountDownLatch(1);
    private final CountDownLatch goOn = new CountDownLatch(1);
    private final List<String> scored = new CopyOnWriteArrayList<>();

    @Override
    public double[] of(List<String> texts) {
      begun.countDown();
      try {
        goOn.await();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      scored.addAll(texts);
      return lengths(texts);
    }
  }

  private static void assertError(int status, String message, HttpResponse<String> found)
      throws IOException {
    assertEquals(status, found.statusCode(), found.body());
    JsonNode body = JSON.readTree(found.body());
    assertTrue(body.path("error").asText().contains(message), found.body());
    assertEquals("application/json", found.headers().firstValue("Content-Type").orElseThrow());
  }

  @Test
  void numbersArriveToTheBit() throws Exception {
    open(null, RewardServerTest::lengths);
    HttpResponse<String> found =
        post("{\"query\": [\"a\", \"été\"], \"prompts\": [\"\", \"\"], \"labels\": [\"\", \"\"]}");
    assertEquals(200, found.statusCode());
    JsonNode body = JSON.readTree(found.body());
    assertEquals(1 + 0.1f, body.path("rewards").path(0).doubleValue());
    assertEquals(3 + 0.1f, body.path("rewards").path(1).doubleValue());
    assertEquals(body.path("rewards"), body.path("scores"));
    assertEquals("{\"rewards\":[],\"scores\":[]}", post("{\"query\": []}").body());
    HttpReward reward = new HttpReward(server.url(), null, HttpReward.Options.standard(2, 0));
    assertArrayEquals(
        new double[] {4 + 0.1f},
        reward.rewards(
            List.of(new HttpReward.Completion(0, 0, "ab", "cd", new int[] {1}, new int[] {2}))));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "400|the body is no JSON|{\"query\": [",
        "400|an object with a list of texts is expected|[\"a\"]",
        "400|an object with a list of texts is expected|{\"query\": \"a\"}",
        "400|an object with a list of texts is expected|{\"queries\": [\"a\"]}",
        "400|the body is no JSON: Duplicate|{\"query\": [\"a\"], \"query\": [\"b\"]}",
        "400|query[1] is no text but NULL|{\"query\": [\"a\", null]}",
        "400|query[0] holds half of a surrogate pair|{\"query\": [\"\\ud83d\"]}",
        "400|query[2] is too long|{\"query\": [\"a\", \"b\", \"long\"]}",
        "422|the model computes NaN|{\"query\": [\"nan\"]}",
        "422|the score of query[1] is Infinity|{\"query\": [\"a\", \"1/0\"]}",
        "422|the disk is gone|{\"query\": [\"disk\"]}",
        "422|the server failed on this request|{\"query\": [\"defect\"]}",
      })
  void errorsAreJson(int status, String message, String body) throws Exception {
    open(null, RewardServerTest::lengths);
    HttpResponse<String> found = post(body);
    assertError(status, message, found);
    boolean isNonFinite = body.contains("nan") || body.contains("1/0");
    assertEquals(
        isNonFinite ? "non_finite" : "", JSON.readTree(found.body()).path("error_type").asText());
    // And the server goes on.
    assertEquals(200, post("{\"query\": [\"a\"]}").statusCode());
    String console = said.toString(StandardCharsets.UTF_8);
    assertEquals(body.contains("defect"), console.contains("a secret of ours"));
  }

  @Test
  void aScoreThatIsNotFiniteEndsARunAsThatOfAFolder() {
    List<String> asked = new CopyOnWriteArrayList<>();
    open(
        null,
        texts -> {
          asked.addAll(texts);
          return lengths(texts);
        });
    HttpReward reward = new HttpReward(server.url(), null, HttpReward.Options.standard(2, 0));
    HttpReward.Completion nan =
        new HttpReward.Completion(3, 1, "n", "an", new int[] {1}, new int[] {2});
    RlhfException found = assertThrows(RlhfException.class, () -> reward.rewards(List.of(nan)));
    assertEquals(ExitCode.NON_FINITE, found.exitCode());
    assertTrue(
        found
            .getMessage()
            .endsWith("the model computes NaN (the first of 1 texts is " + nan.place() + ")"),
        found.getMessage());
    assertEquals(List.of("nan"), asked);
  }

  @Test
  void bodiesAndListsAreBounded() throws Exception {
    open(null, RewardServerTest::lengths);
    String fits = "{\"query\": [\"%s\"]}".formatted("x".repeat(LIMIT - 15));
    assertEquals(LIMIT, fits.length());
    assertEquals(200, post(fits).statusCode());
    assertError(413, "the body has more than 1048576 bytes (max_body_mib 1)", post(fits + " "));
    assertError(
        413,
        "the body has more than",
        send(
            request("/get_reward")
                .POST(
                    BodyPublishers.ofInputStream(
                        () -> new ByteArrayInputStream(new byte[3 * LIMIT])))));
    String many = "{\"query\": [\"\"%s]}".formatted(",\"\"".repeat(4096));
    assertError(413, "query has 4097 texts, at most 4096 are taken", post(many));
  }

  @Test
  void otherPathsAndMethodsAreNamed() throws Exception {
    open(null, RewardServerTest::lengths);
    assertError(404, "POST /get_reward", send(request("/get_reward/").GET()));
    assertError(405, "/get_reward takes POST", send(request("/get_reward").GET()));
    assertError(405, "/health takes GET", send(request("/health").DELETE()));
    assertEquals("{\"status\":\"ok\"}", send(request("/health").GET()).body());
  }

  @Test
  void aTokenIsAskedFor() throws Exception {
    open("s3cret", RewardServerTest::lengths);
    assertEquals(200, send(request("/health").GET()).statusCode());
    String body = "{\"query\": [\"a\"]}";
    assertError(401, "Authorization: Bearer TOKEN", post(body));
    for (String wrong : List.of("Bearer s3cre", "Bearer s3cret2", "s3cret", "Basic s3cret")) {
      assertError(
          401,
          "another token",
          send(
              request("/get_reward")
                  .header("Authorization", wrong)
                  .POST(BodyPublishers.ofString(body))));
    }
    HttpResponse<String> right =
        send(
            request("/get_reward")
                .header("Authorization", "bearer s3cret")
                .POST(BodyPublishers.ofString(body)));
    assertEquals(200, right.statusCode());
    RewardServer.Options options =
        new RewardServer.Options(new InetSocketAddress("127.0.0.1", 1), LIMIT, "s3cret");
    assertFalse(options.toString().contains("s3cret"));
  }

  @Test
  void manyClientsAreScoredByOneThread() throws Exception {
    Set<Thread> threads = new CopyOnWriteArraySet<>();
    open(
        null,
        texts -> {
          threads.add(Thread.currentThread());
          return lengths(texts);
        });
    List<CompletableFuture<HttpResponse<String>>> answers = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      String body = "{\"query\": [\"%s\"]}".formatted("x".repeat(i));
      answers.add(postAsync(request("/get_reward"), body));
    }
    for (int i = 0; i < answers.size(); i++) {
      JsonNode found = JSON.readTree(answers.get(i).join().body());
      assertEquals(i + 0.1f, found.path("rewards").path(0).doubleValue());
    }
    assertEquals(Set.of(serving), threads);
    assertEquals(100, server.requests());
    assertEquals(100, server.texts());
  }

  @Test
  void whoIsBeingScoredAtTheEndIsAnsweredAndWhoWaitsIsRefused() throws Exception {
    open(null, held);
    var first = postAsync(request("/get_reward"), "{\"query\": [\"a\"]}");
    held.begun.await();
    var second = postAsync(request("/get_reward"), "{\"query\": [\"a\"]}");
    // Health is answered meanwhile.
    assertEquals(200, send(request("/health").GET()).statusCode());
    stop.request(ExitCode.TERMINATED);
    held.goOn.countDown();
    assertEquals(200, first.join().statusCode());
    assertError(503, "the server is being stopped", second.join());
    serving.join();
    assertError(503, "the server is being stopped", post("{\"query\": [\"a\"]}"));
  }

  @Test
  void healthIsAnsweredWhateverTheNumberOfThoseThatWait() throws Exception {
    open(null, held);
    List<CompletableFuture<HttpResponse<String>>> waiting = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      waiting.add(postAsync(request("/get_reward"), "{\"query\": [\"a\"]}"));
    }
    held.begun.await();
    assertEquals(200, send(request("/health").GET()).statusCode());
    assertError(400, "the body is no JSON", post("{"));
    assertTrue(waiting.stream().noneMatch(CompletableFuture::isDone));
    held.goOn.countDown();
    for (CompletableFuture<HttpResponse<String>> answer : waiting) {
      assertEquals(200, answer.join().statusCode());
    }
  }

  @Test
  void whoHasGoneIsNotScored() throws Exception {
    open(null, held);
    List<CompletableFuture<HttpResponse<String>>> answers = new ArrayList<>();
    answers.add(postAsync(request("/get_reward"), "{\"query\": [\"first\"]}"));
    held.begun.await();
    for (String preference :
        List.of("wait=0", "respond-async, Wait = \"0\"", "await=0", "wait=900")) {
      answers.add(
          postAsync(
              request("/get_reward").header("Prefer", preference),
              JSON.writeValueAsString(Map.of("query", List.of(preference)))));
    }
    held.goOn.countDown();
    String late = "no scores within 0 s; the header Prefer: wait=SECONDS";
    assertError(503, late, answers.get(1).join());
    assertError(503, late, answers.get(2).join());
    for (int i : new int[] {0, 3, 4}) {
      assertEquals(200, answers.get(i).join().statusCode());
    }
    assertEquals(Set.of("first", "await=0", "wait=900"), Set.copyOf(held.scored));
    assertEquals(3, server.requests());
  }

  @Test
  void whatWaitsIsBounded() throws Exception {
    open(null, held);
    String largest = "{\"query\": [\"%s\"]}".formatted("x".repeat(LIMIT - 15));
    var first = postAsync(request("/get_reward"), largest);
    held.begun.await();
    List<CompletableFuture<HttpResponse<String>>> answers = new ArrayList<>();
    CountDownLatch refused = new CountDownLatch(2);
    for (int i = 0; i < 66; i++) {
      answers.add(
          postAsync(request("/get_reward"), largest)
              .whenComplete((found, failure) -> refused.countDown()));
    }
    refused.await();
    held.goOn.countDown();
    assertEquals(200, first.join().statusCode());
    int busy = 0;
    for (CompletableFuture<HttpResponse<String>> answer : answers) {
      if (answer.join().statusCode() != 200) {
        assertError(503, "too many texts wait for their scores", answer.join());
        busy++;
      }
    }
    assertEquals(2, busy);
    assertEquals(200, post(largest).statusCode());
  }

  @Test
  void whoIsSlowToReadHoldsUpNobody() throws Exception {
    CountDownLatch asked = new CountDownLatch(1);
    open(
        null,
        texts -> {
          if (texts.contains("slow")) {
            asked.countDown();
            // More than the system keeps for a client.
            throw RlhfException.input("x".repeat(1 << 24));
          }
          return lengths(texts);
        });
    try (Socket slow = new Socket()) {
      slow.setReceiveBufferSize(1);
      slow.connect(new InetSocketAddress(server.url().getHost(), server.url().getPort()));
      String body = "{\"query\": [\"slow\"]}";
      String request =
          "POST /get_reward HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n%s"
              .formatted(body.length(), body);
      slow.getOutputStream().write(request.getBytes(StandardCharsets.UTF_8));
      asked.await();
      assertEquals(200, post("{\"query\": [\"a\"]}").statusCode());
    }
  }

  @TempDir Path temporary;

  private RlhfException refused(String token, Path folder, String host, int port) {
    ServeRewardConfig config =
        Config.of(ServeRewardConfig.class)
            .set("model_name_or_path", folder.toString())
            .set("host", host)
            .set("port", port)
            .set("dtype", "fp32")
            .build();
    // Where nothing is wrong it ends at once.
    stop.request(ExitCode.TERMINATED);
    return assertThrows(
        RlhfException.class, () -> new RewardServing(config, token, Console.silent(), stop).run());
  }

  @Test
  void whatCannotBeServedIsNamed() throws IOException {
    Path folder = TinyModel.rewardModel(temporary.resolve("reward"), 3);
    for (String host : List.of("0.0.0.0", "::")) {
      RlhfException open = refused(null, folder, host, 0);
      assertEquals(ExitCode.CONFIG, open.exitCode());
      assertTrue(
          open.getMessage()
              .startsWith(
                  "host: "
                      + host
                      + " can be reached from other machines; set the environment"
                      + " variable RLHF4J_REWARD_TOKEN"),
          open.getMessage());
    }
    // Longer than a label of a name may be, so that no name server is asked.
    assertEquals(ExitCode.CONFIG, refused(null, folder, "x".repeat(64), 0).exitCode());
    open(null, RewardServerTest::lengths);
    RlhfException taken = refused(null, folder, "127.0.0.1", server.url().getPort());
    assertEquals(ExitCode.ENVIRONMENT, taken.exitCode());
    assertTrue(taken.getMessage().startsWith("cannot listen at "), taken.getMessage());
    Files.delete(folder.resolve("tokenizer.json"));
    RlhfException ids = refused(null, folder, "127.0.0.1", 0);
    assertEquals(ExitCode.INPUT, ids.exitCode());
    assertTrue(ids.getMessage().contains("has no tokenizer"), ids.getMessage());
    Path language = TinyModel.causalLm(temporary.resolve("language"), 3);
    assertEquals(ExitCode.INPUT, refused(null, language, "127.0.0.1", 0).exitCode());
  }
}
