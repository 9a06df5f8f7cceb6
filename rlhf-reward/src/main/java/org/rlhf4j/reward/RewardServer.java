package org.rlhf4j.reward;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.Console;

/**
 * Scores over HTTP in OpenRLHF's JSON, see {@link HttpReward}: {@code POST /get_reward}, and {@code
 * GET /health} that answers while scores are computed. Of a request only {@code query} is read, a
 * list of whole texts. Requests are received side by side, and scored one after the other by the
 * thread that calls {@link #serve}. A request that cannot be answered gets an error of its own, as
 * {@code {"error": "…"}}; nothing is cut or left out.
 *
 * <p>Only what another attempt may mend has a status from 500: the server is being stopped, or has
 * too much to do. A text that cannot be scored is a 400. Where the model fails it is a 422, which
 * says {@code "error_type": "non_finite"} beside the error where a score is not a finite number.
 *
 * <p>A request is not scored any more where its turn comes after its client has gone: after the
 * seconds of its header {@code Prefer: wait=SECONDS} (RFC 7240, section 4.3), 600 where it has
 * none.
 */
public final class RewardServer implements AutoCloseable {
  /** The field with the texts. */
  static final String QUERY = "query";

  private static final String SCORING_PATH = "/get_reward";
  private static final String HEALTH_PATH = "/health";
  private static final String BEARER = "Bearer ";
  private static final int RECEIVERS = 64;

  /** How many bodies of the largest size may wait for their scores. */
  private static final int LARGEST_WAITING = 64;

  private static final int LARGEST_LIST = 4096;
  private static final int SECONDS_TO_RECEIVE = 120;
  private static final int SECONDS_TO_WAIT = 600;
  private static final int SECONDS_TO_END = 3;
  private static final long POLL_MILLIS = 100;

  /** The seconds among the preferences of a request. */
  private static final Pattern WAIT =
      Pattern.compile("(?:^|[,;\\s])wait\\s*=\\s*\"?([0-9]{1,9})\\b", Pattern.CASE_INSENSITIVE);

  private static final JsonMapper JSON =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private final Options options;
  private final Scores scores;
  private final Console console;
  private final HttpServer server;
  private final ExecutorService receivers;
  private final BlockingQueue<Job> jobs = new LinkedBlockingQueue<>();
  private boolean stopping;
  private long waitingBytes;
  private int underWay;
  private long requests;
  private long texts;

  /**
   * Where and how it is served.
   *
   * @param address to listen at; port 0 takes any free one
   * @param largestBodyBytes of a request
   * @param token that every request for scores must carry; null: none
   */
  public record Options(InetSocketAddress address, int largestBodyBytes, String token) {
    /** Without the token. */
    @Override
    public String toString() {
      return address + ", bodies of at most " + largestBodyBytes + " bytes";
    }
  }

  /** Scores texts; called by one thread only. */
  @FunctionalInterface
  public interface Scores {
    /**
     * A score for each text, in their order.
     *
     * @throws RlhfException of exit status 3 where a text cannot be scored, and of exit status 4
     *     where a score is not finite
     */
    double[] of(List<String> texts);
  }

  /**
   * Texts that wait for their scores.
   *
   * @param bytes of the body that they were sent in
   * @param received by {@link System#nanoTime}
   * @param waits seconds after which the client is gone
   */
  private record Job(
      HttpExchange exchange, List<String> texts, int bytes, long received, long waits) {
    boolean isTooLate() {
      return System.nanoTime() - received > TimeUnit.SECONDS.toNanos(waits);
    }
  }

  /** What a request gets. */
  private record Reply(int status, ObjectNode body) {}

  /** A request that is not served. */
  private static final class Refusal extends Exception {
    private static final long serialVersionUID = 1L;
    private final int status;

    Refusal(int status, String message) {
      super(message);
      this.status = status;
    }
  }

  private RewardServer(Options options, Scores scores, Console console, HttpServer server) {
    this.options = options;
    this.scores = scores;
    this.console = console;
    this.server = server;
    this.receivers =
        Executors.newFixedThreadPool(
            RECEIVERS,
            work -> {
              Thread thread = new Thread(work, "reward-server");
              thread.setDaemon(true);
              return thread;
            });
  }

  /**
   * Listens. Requests are received from now on, and answered once {@link #serve} is called.
   *
   * @param console told of failures that are not the client's
   * @return closed by the caller
   * @throws RlhfException if the address cannot be used
   */
  public static RewardServer open(Options options, Scores scores, Console console) {
    String limit = "sun.net.httpserver.maxReqTime";
    if (System.getProperty(limit) == null) {
      // Clients that never finish their request would hold the receivers.
      System.setProperty(limit, Integer.toString(SECONDS_TO_RECEIVE));
    }
    HttpServer server;
    try {
      server = HttpServer.create(options.address(), 0);
    } catch (IOException e) {
      throw RlhfException.environment(
          "cannot listen at %s, port %d: %s"
              .formatted(
                  options.address().getHostString(), options.address().getPort(), e.getMessage()),
          e);
    }
    RewardServer made = new RewardServer(options, scores, console, server);
    server.setExecutor(made.receivers);
    server.createContext("/", made::receive);
    server.start();
    return made;
  }

  /** Where scores are asked for. */
  public URI url() {
    InetSocketAddress address = server.getAddress();
    String host = address.getAddress().getHostAddress();
    return URI.create(
        "http://%s:%d%s"
            .formatted(
                host.contains(":") ? "[" + host + "]" : host, address.getPort(), SCORING_PATH));
  }

  /** Requests for scores that were answered with them. */
  public synchronized long requests() {
    return requests;
  }

  /** Texts that were scored. */
  public synchronized long texts() {
    return texts;
  }

  /**
   * Scores what is asked for, in this thread, until {@code stop} says so; the request under way
   * then is still answered, those that wait are refused.
   */
  public void serve(BooleanSupplier stop) {
    try {
      while (!stop.getAsBoolean()) {
        Job job = jobs.poll(POLL_MILLIS, TimeUnit.MILLISECONDS);
        if (job != null) {
          waitsNoMore(job);
          sendLater(job.exchange(), scored(job));
        }
      }
      refuseWhatWaits();
      awaitReplies();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw RlhfException.environment("interrupted while serving", e);
    }
  }

  private Reply scored(Job job) {
    if (job.isTooLate()) {
      return error(
          503,
          "no scores within %d s; the header Prefer: wait=SECONDS says how long a client waits"
              .formatted(job.waits()));
    }
    try {
      return rewards(scores.of(job.texts()));
    } catch (RuntimeException e) {
      return failure(e);
    }
  }

  private Reply rewards(double[] found) {
    ObjectNode body = JSON.createObjectNode();
    // Newer clients read both.
    ArrayNode rewards = body.putArray("rewards");
    ArrayNode same = body.putArray("scores");
    for (int i = 0; i < found.length; i++) {
      if (!Double.isFinite(found[i])) {
        throw RlhfException.nonFinite("the score of %s[%d] is %s".formatted(QUERY, i, found[i]));
      }
      rewards.add(found[i]);
      same.add(found[i]);
    }
    count(found.length);
    return new Reply(200, body);
  }

  /** What would fail again in the same way: with a status that nobody repeats. */
  private Reply failure(RuntimeException e) {
    if (!(e instanceof RlhfException known)) {
      console.warn("serve-reward: a request failed: " + e);
      return error(422, "the server failed on this request; its output says why");
    }
    boolean isInput = known.exitCode() == ExitCode.INPUT;
    Reply reply = error(isInput ? 400 : 422, known.getMessage());
    if (known.exitCode() == ExitCode.NON_FINITE) {
      reply.body().put(HttpReward.ERROR_TYPE, HttpReward.NON_FINITE);
    }
    return reply;
  }

  private synchronized void refuseWhatWaits() {
    stopping = true;
    for (Job job = jobs.poll(); job != null; job = jobs.poll()) {
      waitsNoMore(job);
      sendLater(job.exchange(), error(stopped()));
    }
  }

  private static Refusal stopped() {
    return new Refusal(503, "the server is being stopped");
  }

  private synchronized void awaitReplies() throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS_TO_END);
    while (underWay > 0 && System.nanoTime() < end) {
      wait(POLL_MILLIS);
    }
  }

  private synchronized void enqueue(Job job) throws Refusal {
    if (stopping) {
      throw stopped();
    } else if (waitingBytes + job.bytes() > (long) LARGEST_WAITING * options.largestBodyBytes()) {
      throw new Refusal(503, "too many texts wait for their scores; ask again later");
    }
    waitingBytes += job.bytes();
    jobs.add(job);
  }

  private synchronized void waitsNoMore(Job job) {
    waitingBytes -= job.bytes();
  }

  private synchronized void began() {
    underWay++;
  }

  private synchronized void ended() {
    underWay--;
    notifyAll();
  }

  private synchronized void count(int scored) {
    requests++;
    texts += scored;
  }

  /** Whatever happens, the client hears of it: it would wait otherwise. */
  private void receive(HttpExchange exchange) throws IOException {
    began();
    Optional<Reply> reply;
    try {
      reply = reply(exchange);
    } catch (Refusal e) {
      reply = Optional.of(error(e));
    } catch (RuntimeException e) {
      reply = Optional.of(failure(e));
    } catch (IOException | Error e) {
      // The client is gone, or too little is left to tell it more than that the connection ends.
      exchange.close();
      ended();
      throw e;
    }
    reply.ifPresent(found -> send(exchange, found));
  }

  /** By a thread that waits where a client is slow to read, as the one that scores must not. */
  private void sendLater(HttpExchange exchange, Reply reply) {
    receivers.execute(() -> send(exchange, reply));
  }

  private void send(HttpExchange exchange, Reply reply) {
    try (exchange) {
      byte[] body = JSON.writeValueAsBytes(reply.body());
      exchange.getResponseHeaders().set("Content-Type", "application/json");
      boolean head = exchange.getRequestMethod().equals("HEAD");
      exchange.sendResponseHeaders(reply.status(), head ? -1 : body.length);
      if (!head) {
        exchange.getResponseBody().write(body);
      }
    } catch (IOException e) {
      // The client is gone; nobody is left who could be told.
    } finally {
      ended();
    }
  }

  private static Reply error(Refusal refusal) {
    return error(refusal.status, refusal.getMessage());
  }

  private static Reply error(int status, String message) {
    return new Reply(status, JSON.createObjectNode().put("error", message));
  }

  /** The answer; empty where {@link #serve} gives it. */
  private Optional<Reply> reply(HttpExchange exchange) throws IOException, Refusal {
    String path = exchange.getRequestURI().getPath();
    switch (path) {
      case HEALTH_PATH -> {
        requireMethod(exchange, "GET");
        return Optional.of(new Reply(200, JSON.createObjectNode().put("status", "ok")));
      }
      case SCORING_PATH -> {
        requireMethod(exchange, "POST");
        requireToken(exchange);
        byte[] body = body(exchange);
        List<String> texts = queries(body);
        if (texts.isEmpty()) {
          return Optional.of(rewards(new double[0]));
        }
        enqueue(new Job(exchange, texts, body.length, System.nanoTime(), waits(exchange)));
        return Optional.empty();
      }
      default ->
          throw new Refusal(
              404, "there is POST " + SCORING_PATH + " and GET " + HEALTH_PATH + " here");
    }
  }

  private static long waits(HttpExchange exchange) {
    List<String> preferences = exchange.getRequestHeaders().getOrDefault("Prefer", List.of());
    Matcher wait = WAIT.matcher(String.join(",", preferences));
    return wait.find() ? Long.parseLong(wait.group(1)) : SECONDS_TO_WAIT;
  }

  private static void requireMethod(HttpExchange exchange, String method) throws Refusal {
    if (!exchange.getRequestMethod().equals(method)) {
      exchange.getResponseHeaders().set("Allow", method);
      throw new Refusal(405, exchange.getRequestURI().getPath() + " takes " + method);
    }
  }

  private void requireToken(HttpExchange exchange) throws Refusal {
    if (options.token() == null) {
      return;
    }
    String header = exchange.getRequestHeaders().getFirst("Authorization");
    boolean bearer = header != null && header.regionMatches(true, 0, BEARER, 0, BEARER.length());
    byte[] given =
        (bearer ? header.substring(BEARER.length()).strip() : "").getBytes(StandardCharsets.UTF_8);
    // In a time that does not tell how much of it was right.
    if (!MessageDigest.isEqual(given, options.token().getBytes(StandardCharsets.UTF_8))) {
      exchange.getResponseHeaders().set("WWW-Authenticate", "Bearer");
      throw new Refusal(
          401, "the header Authorization: Bearer TOKEN is missing, or has another token");
    }
  }

  private byte[] body(HttpExchange exchange) throws IOException, Refusal {
    int limit = options.largestBodyBytes();
    InputStream in = exchange.getRequestBody();
    byte[] body = in.readNBytes(limit);
    long rest = 0;
    // A client hears of an error only when it has sent its request; one that is far too long does
    // not.
    byte[] buffer = new byte[1 << 16];
    for (int read = in.read(buffer); read >= 0 && rest < 4L * limit; read = in.read(buffer)) {
      rest += read;
    }
    if (rest > 0) {
      throw new Refusal(
          413, "the body has more than %d bytes (max_body_mib %d)".formatted(limit, limit >> 20));
    }
    return body;
  }

  private static List<String> queries(byte[] body) throws Refusal {
    JsonNode request;
    try {
      request = JSON.readTree(body);
    } catch (JsonProcessingException e) {
      throw new Refusal(400, "the body is no JSON: " + e.getOriginalMessage());
    } catch (IOException e) {
      throw new Refusal(400, "the body is no JSON: " + e.getMessage());
    }
    JsonNode list = request.path(QUERY);
    if (!list.isArray()) {
      throw new Refusal(
          400, "an object with a list of texts is expected: {\"" + QUERY + "\": [\"…\"]}");
    } else if (list.size() > LARGEST_LIST) {
      throw new Refusal(
          413, "%s has %d texts, at most %d are taken".formatted(QUERY, list.size(), LARGEST_LIST));
    }
    List<String> texts = new ArrayList<>();
    for (JsonNode text : list) {
      String place = QUERY + "[" + texts.size() + "]";
      if (!text.isTextual()) {
        throw new Refusal(400, place + " is no text but " + text.getNodeType());
      } else if (!StandardCharsets.UTF_8.newEncoder().canEncode(text.textValue())) {
        throw new Refusal(400, place + " holds half of a surrogate pair");
      }
      texts.add(text.textValue());
    }
    return texts;
  }

  @Override
  public void close() {
    server.stop(0);
    receivers.shutdownNow();
  }
}
