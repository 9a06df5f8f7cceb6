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
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.Console;

/**
 * Scores over HTTP in OpenRLHF's JSON, see {@link HttpReward}: {@code POST /get_reward}, and {@code
 * GET /health} that answers while scores are computed. Of a request only {@code query} is read, a
 * list of whole texts. Requests are received side by side, and scored one after the other by the
 * thread that calls {@link #serve}. A request that cannot be answered gets an error of its own, as
 * {@code {"error": "…"}}; nothing is cut or left out.
 */
public final class RewardServer implements AutoCloseable {
  /** The field with the texts. */
  static final String QUERY = "query";

  private static final String SCORING_PATH = "/get_reward";
  private static final String HEALTH_PATH = "/health";
  private static final String BEARER = "Bearer ";
  private static final int RECEIVERS = 64;
  private static final int LARGEST_LIST = 4096;
  private static final int SECONDS_TO_RECEIVE = 120;
  private static final int SECONDS_TO_END = 3;
  private static final long POLL_MILLIS = 100;

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
     * @throws RlhfException of exit status 3 where a text cannot be scored
     */
    double[] of(List<String> texts);
  }

  /** Texts that wait for their scores. */
  private record Job(List<String> texts, CompletableFuture<double[]> scores) {}

  /** What a request gets. */
  private record Reply(int status, JsonNode body) {}

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
          score(job);
        }
      }
      refuseWhatWaits();
      awaitReplies();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw RlhfException.environment("interrupted while serving", e);
    }
  }

  private void score(Job job) {
    try {
      job.scores().complete(scores.of(job.texts()));
    } catch (RuntimeException e) {
      job.scores().completeExceptionally(e);
    } catch (Error e) {
      job.scores().completeExceptionally(e);
      throw e;
    }
  }

  private synchronized void refuseWhatWaits() {
    stopping = true;
    for (Job job = jobs.poll(); job != null; job = jobs.poll()) {
      job.scores().completeExceptionally(stopped());
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
    }
    jobs.add(job);
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
    try (exchange) {
      Reply reply;
      try {
        reply = reply(exchange);
      } catch (Refusal e) {
        reply = error(e.status, e.getMessage());
      } catch (RuntimeException e) {
        console.warn("serve-reward: a request failed: " + e);
        reply = error(500, "the server failed on this request; its output says why");
      }
      byte[] body = JSON.writeValueAsBytes(reply.body());
      exchange.getResponseHeaders().set("Content-Type", "application/json");
      boolean head = exchange.getRequestMethod().equals("HEAD");
      exchange.sendResponseHeaders(reply.status(), head ? -1 : body.length);
      if (!head) {
        exchange.getResponseBody().write(body);
      }
    } finally {
      ended();
    }
  }

  private static Reply error(int status, String message) {
    return new Reply(status, JSON.createObjectNode().put("error", message));
  }

  private Reply reply(HttpExchange exchange) throws IOException, Refusal {
    String path = exchange.getRequestURI().getPath();
    switch (path) {
      case HEALTH_PATH -> {
        requireMethod(exchange, "GET");
        return new Reply(200, JSON.createObjectNode().put("status", "ok"));
      }
      case SCORING_PATH -> {
        requireMethod(exchange, "POST");
        requireToken(exchange);
        return scored(queries(body(exchange)));
      }
      default ->
          throw new Refusal(
              404, "there is POST " + SCORING_PATH + " and GET " + HEALTH_PATH + " here");
    }
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

  private Reply scored(List<String> texts) throws Refusal {
    Job job = new Job(texts, new CompletableFuture<>());
    if (texts.isEmpty()) {
      job.scores().complete(new double[0]);
    } else {
      enqueue(job);
    }
    double[] found;
    try {
      found = job.scores().get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw stopped();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof Refusal refusal) {
        throw refusal;
      } else if (e.getCause() instanceof RlhfException known) {
        throw new Refusal(known.exitCode() == ExitCode.INPUT ? 400 : 500, known.getMessage());
      }
      throw new IllegalStateException(e.getCause());
    }
    ObjectNode reply = JSON.createObjectNode();
    // Newer clients read both.
    ArrayNode rewards = reply.putArray("rewards");
    ArrayNode same = reply.putArray("scores");
    for (double score : found) {
      rewards.add(score);
      same.add(score);
    }
    count(found.length);
    return new Reply(200, reply);
  }

  @Override
  public void close() {
    server.stop(0);
    receivers.shutdownNow();
  }
}
