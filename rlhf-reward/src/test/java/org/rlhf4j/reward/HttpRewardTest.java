package org.rlhf4j.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RewardFunction.Completion;

@Timeout(300)
class HttpRewardTest {
  private static final JsonMapper JSON = new JsonMapper();

  /** What the server was asked: path, headers, body. */
  private record Asked(String path, String token, String preference, JsonNode body) {}

  /** What the server does about a request, by its number from 0. */
  @FunctionalInterface
  private interface Behaviour {
    void answer(HttpExchange exchange, int number) throws IOException;
  }

  /** Time that passes between attempts, and in those without an answer; both at once. */
  private static final class Waits implements HttpReward.Time {
    private final List<Double> seconds = new ArrayList<>();
    private long nanos;

    /**
     * How many times an answer is waited for in vain; any other is waited for until it is there.
     */
    private int unanswered;

    /** Whether those times are a moment of real time, in which a server could answer. */
    private boolean isLookedAt;

    @Override
    public long nanos() {
      return nanos;
    }

    @Override
    public void sleep(long nanos) {
      this.nanos += nanos;
      seconds.add(nanos / 1e9);
    }

    @Override
    public <T> T await(Future<T> answer, long nanos)
        throws InterruptedException, ExecutionException, TimeoutException {
      if (unanswered == 0) {
        return answer.get();
      }
      unanswered--;
      this.nanos += nanos;
      if (isLookedAt) {
        return answer.get(20, TimeUnit.MILLISECONDS);
      }
      throw new TimeoutException();
    }
  }

  private static final HttpReward.Notices SILENT = new HttpReward.Notices(line -> {}, 30);

  private final List<Asked> asked = new CopyOnWriteArrayList<>();
  private final Waits waits = new Waits();
  private final CountDownLatch end = new CountDownLatch(1);
  private final ExecutorService threads = Executors.newCachedThreadPool();
  private HttpServer server;
  private String url;
  private Behaviour behaviour;

  @BeforeEach
  void start() throws IOException {
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.setExecutor(threads);
    server.createContext(
        "/",
        exchange -> {
          try (exchange) {
            JsonNode body = JSON.readTree(exchange.getRequestBody().readAllBytes());
            String token = exchange.getRequestHeaders().getFirst("Authorization");
            String preference = exchange.getRequestHeaders().getFirst("Prefer");
            asked.add(new Asked(exchange.getRequestURI().toString(), token, preference, body));
            behaviour.answer(exchange, asked.size() - 1);
          }
        });
    server.start();
    url = "http://127.0.0.1:" + server.getAddress().getPort();
  }

  @AfterEach
  void stop() {
    end.countDown();
    server.stop(0);
    threads.shutdownNow();
  }

  private static void send(HttpExchange exchange, int status, String body) throws IOException {
    byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
    exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
    exchange.getResponseBody().write(bytes);
  }

  private void always(int status, String body) {
    behaviour = (exchange, number) -> send(exchange, status, body);
  }

  private static HttpReward.Options options(int batchSize, double timeout) {
    return new HttpReward.Options(batchSize, timeout, 3, 0.02, 10_000);
  }

  private double[] ask(String where, String token, HttpReward.Options options, int count) {
    return RewardFunction.checked(
        new HttpReward(URI.create(where), token, options, SILENT, waits), completions(count));
  }

  private static List<Completion> completions(int count) {
    List<Completion> completions = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      completions.add(
          new Completion(i, 0, "P" + i, " été 😀" + i, new int[] {1}, new int[] {2, 3}));
    }
    return completions;
  }

  /** Without a limit in time, so with three attempts. */
  private double[] ask(int count) {
    return ask(url, null, options(8, 0), count);
  }

  /** Does nothing until the test ends. */
  private void hang() {
    try {
      end.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void refused(ExitCode code, String... parts) {
    refused(assertThrows(RlhfException.class, () -> ask(2)), code, parts);
  }

  private void refused(RlhfException found, ExitCode code, String... parts) {
    assertEquals(code, found.exitCode(), found.getMessage());
    assertEquals(1, found.getMessage().lines().count(), found.getMessage());
    assertTrue(found.getMessage().startsWith(url + "/get_reward: "), found.getMessage());
    for (String part : parts) {
      assertTrue(found.getMessage().contains(part), found.getMessage());
    }
  }

  @Test
  void textsGoOutInBatchesAndNumbersComeBackInOrder() throws IOException {
    behaviour =
        (exchange, number) -> {
          List<Double> rewards = new ArrayList<>();
          for (JsonNode query : asked.get(number).body().path("query")) {
            String text = query.asText();
            rewards.add(0.5 + Integer.parseInt(text.substring(text.length() - 1)));
          }
          send(exchange, 200, "{\"rewards\": %s, \"extra_logs\": {}}".formatted(rewards));
        };
    assertArrayEquals(new double[] {0.5, 1.5, 2.5, 3.5, 4.5}, ask(url, null, options(2, 0), 5), 0);
    assertEquals(3, asked.size());
    assertEquals(
        JSON.readTree(
            "{\"query\": [\"P2 été 😀2\", \"P3 été 😀3\"], \"prompts\": [\"P2\", \"P3\"],"
                + " \"labels\": [\"\", \"\"]}"),
        asked.get(1).body());
    assertEquals("/get_reward", asked.get(0).path());
    assertNull(asked.get(0).token());
  }

  @Test
  void aPathOfOnesOwnIsKept() {
    always(200, "{\"scores\": [1, -2e3]}");
    assertArrayEquals(
        new double[] {1, -2000}, ask(url + "/rm/v2?model=a", null, options(8, 0), 2), 0);
    ask(url + "/", null, options(8, 0), 2);
    assertEquals(
        List.of("/rm/v2?model=a", "/get_reward"), asked.stream().map(Asked::path).toList());
  }

  @Test
  void rewardsCountBeforeScores() {
    always(200, "{\"scores\": [0.5, 0.5], \"rewards\": [1, 2]}");
    assertArrayEquals(new double[] {1, 2}, ask(2), 0);
  }

  @Test
  void theTokenIsSent() {
    always(200, "{\"rewards\": [0, 0]}");
    ask(url, "s3cret", options(8, 0), 2);
    assertEquals("Bearer s3cret", asked.get(0).token());
    always(401, "{\"detail\": \"Unauthorized\"}");
    refused(
        ExitCode.CONFIG, "answers 401: Unauthorized", "RLHF4J_REWARD_TOKEN holds, and none is set");
    refused(
        assertThrows(RlhfException.class, () -> ask(url, "other", options(8, 0), 2)),
        ExitCode.CONFIG,
        "and another is needed");
    assertThrows(RlhfException.class, () -> ask(url, "two words", options(8, 0), 2));
  }

  @ParameterizedTest
  @ValueSource(ints = {500, 503, 429, 408})
  void aServerInTroubleIsAskedAgain(int status) {
    behaviour =
        (exchange, number) ->
            send(exchange, number < 2 ? status : 200, number < 2 ? "no" : "{\"rewards\": [3, 4]}");
    assertArrayEquals(new double[] {3, 4}, ask(2), 0);
    assertEquals(3, asked.size());
  }

  @Test
  void butNotForever() {
    always(502, "{\"error\": \"bad\\ngateway\"}");
    refused(ExitCode.ENVIRONMENT, "answers 502: bad", "gateway (3 attempts)");
    assertEquals(3, asked.size());
  }

  /** Answers every third request. */
  private HttpReward everyThird(List<String> lines, double timeout, double pause) {
    behaviour =
        (exchange, number) ->
            send(
                exchange,
                number % 3 < 2 ? 503 : 200,
                number % 3 < 2 ? "busy" : "{\"rewards\": [3]}");
    return new HttpReward(
        URI.create(url),
        null,
        options(8, timeout),
        new HttpReward.Notices(lines::add, pause),
        waits);
  }

  @Test
  void whoWaitsIsTold() {
    List<String> lines = new ArrayList<>();
    everyThird(lines, 0, 0.02).rewards(completions(1));
    String trouble = url + "/get_reward: answers 503: busy; it is asked again, ";
    assertEquals(
        List.of(
            trouble + "after 1 of 3 attempts",
            trouble + "after 2 of 3 attempts",
            url + "/get_reward: answers again"),
        lines);
  }

  @Test
  void butOnlyNowAndThen() {
    List<String> lines = new ArrayList<>();
    HttpReward reward = everyThird(lines, 4000, 1000);
    reward.rewards(completions(1));
    // Another request, and trouble of its own.
    reward.rewards(completions(1));
    assertEquals(6, asked.size());
    // At once, so that nearly all of the 4,000 s are left.
    String trouble =
        url
            + "/get_reward: answers 503: busy; it is asked again, for 1 h 07 min more"
            + " (reward_timeout_s 4,000)";
    String again = url + "/get_reward: answers again";
    assertEquals(List.of(trouble, again, trouble, again), lines);
  }

  private HttpReward told(List<String> lines, double timeout) {
    return new HttpReward(
        URI.create(url), null, options(8, timeout), new HttpReward.Notices(lines::add, 30), waits);
  }

  @Test
  void aSilentServerIsNamedEveryHalfMinute() {
    behaviour = (exchange, number) -> hang();
    waits.unanswered = Integer.MAX_VALUE;
    List<String> lines = new ArrayList<>();
    HttpReward reward = told(lines, 600);
    refused(
        assertThrows(RlhfException.class, () -> reward.rewards(completions(1))),
        ExitCode.ENVIRONMENT,
        ": no answer within 149.9 s (4 attempts, ");
    String begin = url + "/get_reward: no answer ";
    String end = " more (reward_timeout_s 600)";
    // Attempts of 150 s, behind the first three of which 0.02, 0.04 and 0.08 s pass.
    assertEquals(
        List.of(
            begin + "yet after 30 s; it is waited for and asked again, for 9 min 30 s" + end,
            begin + "yet after 60 s; it is waited for and asked again, for 9 min 00 s" + end,
            begin + "yet after 90 s; it is waited for and asked again, for 8 min 30 s" + end,
            begin + "yet after 120 s; it is waited for and asked again, for 8 min 00 s" + end,
            begin + "within 150 s; it is asked again, for 7 min 30 s" + end,
            begin + "yet after 30 s; it is waited for and asked again, for 7 min 00 s" + end),
        lines.subList(0, 6));
    // The last attempt is the end.
    assertEquals(5 + 5 + 5 + 4, lines.size(), lines.toString());
  }

  @Test
  void aSilentServerIsNamedWhereItIsWaitedForWithoutALimit() {
    always(200, "{\"rewards\": [3]}");
    waits.unanswered = 2;
    List<String> lines = new ArrayList<>();
    told(lines, 0).rewards(completions(1));
    String begin = url + "/get_reward: no answer yet after ";
    String end = " s; it is waited for without a limit (reward_timeout_s 0)";
    assertEquals(
        List.of(begin + 30 + end, begin + 60 + end, url + "/get_reward: answers again"), lines);
    assertEquals(1, asked.size());
  }

  @Test
  void aRefusalIsNoAnswerAgain() {
    behaviour = (exchange, number) -> send(exchange, number == 0 ? 503 : 401, "");
    List<String> lines = new ArrayList<>();
    HttpReward reward = told(lines, 600);
    refused(
        assertThrows(RlhfException.class, () -> reward.rewards(completions(1))),
        ExitCode.CONFIG,
        "answers 401");
    assertEquals(1, lines.size(), lines.toString());
    assertTrue(lines.get(0).contains(": answers 503; it is asked again, "), lines.toString());
  }

  @Test
  void theLimitInTimeCountsNotTheAttemptsAndWaitsAreCapped() {
    // An attempt may take a quarter of 480 s; a twentieth of it is 24 s.
    behaviour =
        (exchange, number) ->
            send(exchange, number < 13 ? 503 : 200, number < 13 ? "" : "{\"rewards\": [3, 4]}");
    assertArrayEquals(new double[] {3, 4}, ask(url, null, options(8, 480), 2), 0);
    assertEquals(14, asked.size());
    double[] expected = {
      0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 24, 24
    };
    assertArrayEquals(
        expected, waits.seconds.stream().mapToDouble(Double::doubleValue).toArray(), 1e-9);
  }

  @Test
  void theServerIsToldHowLongAnAttemptIsWaitedFor() {
    always(200, "{\"rewards\": [1, 2]}");
    ask(url, null, options(8, 1798), 2);
    ask(2);
    assertEquals("wait=450", asked.get(0).preference());
    assertEquals("wait=999999999", asked.get(1).preference());
  }

  @Test
  void retryAfterIsObeyedAndBoundedByTheTimeout() {
    behaviour =
        (exchange, number) -> {
          exchange.getResponseHeaders().set("Retry-After", number == 0 ? "100" : "3000");
          send(exchange, 429, "");
        };
    refused(
        assertThrows(RlhfException.class, () -> ask(url, null, options(8, 2000), 2)),
        ExitCode.ENVIRONMENT,
        "answers 429 (2 attempts, each of at most a quarter of reward_timeout_s 2,000; more of it ");
    assertEquals(List.of(100.0), waits.seconds);
  }

  @ParameterizedTest
  @CsvSource({
    "404, INPUT, answers 404: Not Found (the first of 2 texts is prompt 0",
    "400, INPUT, answers 400: Not Found",
    "413, INPUT, answers 413",
    "422, INPUT, answers 422",
    "501, INPUT, answers 501",
    "403, CONFIG, answers 403"
  })
  void aRefusalIsFinal(int status, ExitCode code, String message) {
    always(status, "{\"detail\":\"Not Found\"}");
    refused(code, message);
    assertEquals(1, asked.size());
  }

  @Test
  void aScoreThatIsNotFiniteIsFinal() {
    always(422, "{\"error\": \"the model computes NaN\", \"error_type\": \"non_finite\"}");
    refused(
        ExitCode.NON_FINITE,
        "answers 422: the model computes NaN (the first of 2 texts is prompt 0, response 0)");
    assertEquals(1, asked.size());
  }

  @Test
  void redirectsAreNotFollowed() {
    behaviour =
        (exchange, number) -> {
          exchange.getResponseHeaders().set("Location", "http://other/get_reward");
          send(exchange, 307, "");
        };
    refused(ExitCode.CONFIG, "answers 307, moved to http://other/get_reward");
    assertEquals(1, asked.size());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"rewards\": [1]}|gave 1 rewards for 2 responses; one for each is needed",
        "{\"rewards\": [1, 2, 3]}|gave 3 rewards for 2 responses",
        "{\"rewards\": [1, \"2\"]}|the reward of prompt 1, response 0 is no number but \"2\"",
        "{\"rewards\": [null, 2]}|the reward of prompt 0, response 0 is no number but null",
        "{\"rewards\": [[1], [2]]}|is no number but [1]",
        "{\"rewards\": 1}|no list rewards, nor scores; it begins with: {\"rewards\": 1}",
        "[1, 2]|no list rewards, nor scores",
        "{\"reward\": [1, 2]}|no list rewards, nor scores",
        "<html>It works!</html>|the answer is no JSON: ",
        "{\"rewards\": [1, 2]} 3|the answer is no JSON: ",
        "{\"rewards\": [1, 2]|the answer is no JSON: ",
      })
  void answersThatAreNoRewardsAreNamed(String body, String message) {
    always(200, body);
    refused(ExitCode.INPUT, message);
    assertEquals(1, asked.size());
  }

  @Test
  void anEmptyAnswerIsNamed() {
    always(204, "");
    refused(ExitCode.INPUT, "no list rewards");
  }

  @ParameterizedTest
  @ValueSource(strings = {"NaN", "Infinity", "-Infinity", "1e999"})
  void aNumberThatIsNotFiniteStops(String number) {
    always(200, "{\"rewards\": [1, " + number + "]}");
    RlhfException found = assertThrows(RlhfException.class, () -> ask(2));
    assertEquals(ExitCode.NON_FINITE, found.exitCode());
    assertTrue(
        found.getMessage().startsWith("the reward of prompt 1, response 0 is "),
        found.getMessage());
  }

  @Test
  void bodiesAreBounded() {
    always(200, "{\"rewards\": [1, 2], \"more\": \"" + "x".repeat(20_000) + "\"}");
    refused(ExitCode.INPUT, "the answer has more than the 10000 bytes that are read");
    behaviour =
        (exchange, number) -> {
          // Without a length, and without an end.
          exchange.sendResponseHeaders(200, 0);
          byte[] blanks = " ".repeat(1 << 12).getBytes(StandardCharsets.UTF_8);
          while (true) {
            exchange.getResponseBody().write(blanks);
          }
        };
    refused(ExitCode.INPUT, "the answer has more than the 10000 bytes that are read");
    refused(
        assertThrows(RlhfException.class, () -> ask(url, null, options(1000, 0), 1000)),
        ExitCode.INPUT,
        "at most 10000 are sent; lower generation_batch_size");
    assertEquals(2, asked.size());
  }

  @Test
  void aServerThatHangsIsNotWaitedForForever() {
    Behaviour silent = (exchange, number) -> hang();
    Behaviour halfWay =
        (exchange, number) -> {
          exchange.sendResponseHeaders(200, 100);
          exchange.getResponseBody().write('{');
          exchange.getResponseBody().flush();
          hang();
        };
    for (Behaviour each : List.of(silent, halfWay)) {
      behaviour = each;
      waits.seconds.clear();
      waits.unanswered = Integer.MAX_VALUE;
      waits.isLookedAt = true;
      refused(
          assertThrows(RlhfException.class, () -> ask(url, null, options(8, 0.2), 2)),
          ExitCode.ENVIRONMENT,
          ": no answer within 0.02 s (4 attempts, each of at most a quarter of reward_timeout_s 0.2;"
              + " more of it ");
      // Between three attempts of 0.05 s and one of what is left.
      assertEquals(List.of(0.01, 0.01, 0.01), waits.seconds);
    }
  }

  @Test
  void anAttemptThatHangsIsFollowedByAnother() {
    always(200, "{\"rewards\": [1, 2]}");
    // An attempt of 75 s: 30 s twice, and the rest.
    waits.unanswered = 3;
    assertArrayEquals(new double[] {1, 2}, ask(url, null, options(8, 300), 2), 0);
    assertEquals(List.of(0.02), waits.seconds);
    assertEquals(75_020_000_000L, waits.nanos);
  }

  @Test
  void aServerThatIsNotThereIsAskedAgainAndNamed() throws IOException {
    // Bound, so that nobody else gets the port, and not listening.
    try (Socket socket = new Socket()) {
      socket.bind(new InetSocketAddress("127.0.0.1", 0));
      url = "http://127.0.0.1:" + socket.getLocalPort();
      refused(ExitCode.ENVIRONMENT, "cannot be reached: the connection is refused (3 attempts)");
      refused(
          assertThrows(RlhfException.class, () -> ask(url, null, options(8, 480), 2)),
          ExitCode.ENVIRONMENT,
          "cannot be reached: the connection is refused (",
          " attempts, each of at most a quarter of reward_timeout_s 480; more of it ");
    }
    double waited = waits.seconds.stream().mapToDouble(Double::doubleValue).sum();
    // What is left after the last attempt is no more than a wait.
    assertTrue(waited > 480 - 2 * 24 && waited < 480 - 24, waited + " s");
    // Longer than a label of a name may be, so that no name server is asked.
    url = "http://" + "x".repeat(64);
    refused(ExitCode.ENVIRONMENT, "cannot be reached: ", "(3 attempts)");
  }

  @Test
  void aConnectionThatBreaksIsTriedAgain() {
    behaviour =
        (exchange, number) -> {
          if (number > 0) {
            send(exchange, 200, "{\"rewards\": [1, 2]}");
          }
          // Else closed without a word.
        };
    assertArrayEquals(new double[] {1, 2}, ask(2), 0);
    assertEquals(2, asked.size());
  }
}
