package org.rlhf4j.reward;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.channels.UnresolvedAddressException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.ServerUrl;
import org.rlhf4j.core.report.DisplayText;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.train.RewardFunction;

/**
 * Rewards from a server that speaks OpenRLHF's JSON. Asked by POST
 *
 * <pre>{@code {"query": ["prompt and response", …], "prompts": ["prompt", …], "labels": ["", …]}}
 * </pre>
 *
 * it answers {@code {"rewards": [0.5, …]}}, or {@code scores} where it has no {@code rewards};
 * other fields of the answer are not read. Texts are without special tokens; there are no labels.
 *
 * <p>A server that cannot be reached, does not answer in time, or answers 408, 429 or 5xx but 501,
 * is asked again after longer and longer waits, or after its {@code Retry-After}. It is told by
 * {@code Prefer: wait=SECONDS} (RFC 7240, section 4.3) after how long an attempt is given up.
 * Redirects are not followed.
 *
 * <p>An error with {@code "error_type": "non_finite"} beside its message says that the server met a
 * number that is not finite, and ends a run as such a number in the answer does.
 */
public final class HttpReward implements RewardFunction {
  /** The field beside an error that says of what kind it is. */
  static final String ERROR_TYPE = "error_type";

  /** The kind of an error: a score is not a finite number. */
  static final String NON_FINITE = "non_finite";

  private static final String PATH = "/get_reward";
  private static final String REWARDS = "rewards";
  private static final String SCORES = "scores";
  private static final int UNAUTHORIZED = 401;
  private static final int FORBIDDEN = 403;
  private static final int REQUEST_TIMEOUT = 408;
  private static final int TOO_MANY_REQUESTS = 429;
  private static final int SERVER_FAILURE = 500;
  private static final int NOT_IMPLEMENTED = 501;
  private static final int BODY_SHOWN = 300;
  private static final long LONGEST_PREFERENCE = 999_999_999;

  /** Python servers may write NaN; it is then named as what it is. */
  private static final JsonMapper JSON =
      JsonMapper.builder()
          .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private final URI url;
  private final String token;
  private final Options options;
  private final Notices notices;
  private final Time time;
  private final HttpClient client;

  /**
   * When the last notice of the request under way was given, as {@link Time#nanos}; null before.
   */
  private Long noticed;

  /** What passes in attempts and between them; a test need not wait for it. */
  interface Time {
    /** That of the machine. */
    Time REAL =
        new Time() {
          @Override
          public long nanos() {
            return System.nanoTime();
          }

          @Override
          public void sleep(long nanos) throws InterruptedException {
            TimeUnit.NANOSECONDS.sleep(nanos);
          }

          @Override
          public <T> T await(Future<T> answer, long nanos)
              throws InterruptedException, ExecutionException, TimeoutException {
            return answer.get(nanos, TimeUnit.NANOSECONDS);
          }
        };

    /** As {@link System#nanoTime}. */
    long nanos();

    void sleep(long nanos) throws InterruptedException;

    /** As {@link Future#get(long, TimeUnit)}. */
    <T> T await(Future<T> answer, long nanos)
        throws InterruptedException, ExecutionException, TimeoutException;
  }

  /**
   * How a server is asked.
   *
   * @param batchSize texts of one request, at least 1
   * @param timeoutSeconds for one request, all attempts and waits together, of which an attempt may
   *     take a quarter; 0: no limit
   * @param attempts where there is no limit in time, at least 1
   * @param firstWaitSeconds between the first two attempts; each later wait is twice as long, up to
   *     30 s and a twentieth of the limit
   * @param largestBodyBytes of a request, and of an answer
   */
  public record Options(
      int batchSize,
      double timeoutSeconds,
      int attempts,
      double firstWaitSeconds,
      int largestBodyBytes) {
    private static final int STANDARD_ATTEMPTS = 6;
    private static final int STANDARD_LARGEST_BODY = 64 << 20;
    private static final int SHARE_OF_ATTEMPT = 4;
    private static final int SHARE_OF_WAIT = 20;
    private static final double LONGEST_WAIT = 30;

    /** A first wait of 1 s, six attempts where there is no limit, bodies of at most 64 MiB. */
    public static Options standard(int batchSize, double timeoutSeconds) {
      return new Options(batchSize, timeoutSeconds, STANDARD_ATTEMPTS, 1, STANDARD_LARGEST_BODY);
    }

    private boolean isLimited() {
      return timeoutSeconds > 0;
    }

    private double limit() {
      return isLimited() ? timeoutSeconds : Double.POSITIVE_INFINITY;
    }

    private double longestAttempt() {
      return limit() / SHARE_OF_ATTEMPT;
    }

    private double longestWait() {
      return Math.min(LONGEST_WAIT, limit() / SHARE_OF_WAIT);
    }
  }

  /**
   * Who is told, while a server is waited for or asked again, that it is.
   *
   * @param listener takes one line: the URL, what was found, for how long it is asked again
   * @param pauseSeconds between two such lines at least, and before that of an attempt without an
   *     answer; above 0
   */
  record Notices(Consumer<String> listener, double pauseSeconds) {
    private static final double STANDARD_PAUSE = 30;
  }

  /**
   * A client that tells nobody of a server that is asked again; nothing is sent yet.
   *
   * @param url where to post; without a path, {@code /get_reward} of that server
   * @param token sent as {@code Authorization: Bearer}; null for none
   * @throws IllegalArgumentException if it is not that of an HTTP server
   */
  public HttpReward(URI url, String token, Options options) {
    this(url, token, options, line -> {});
  }

  /**
   * As {@link #HttpReward(URI, String, Options)}.
   *
   * @param listener told, in the thread that asks, of a first attempt that fails, now and then of
   *     those after it and of one that still has no answer, and when the server answers again; one
   *     line each
   */
  public HttpReward(URI url, String token, Options options, Consumer<String> listener) {
    this(url, token, options, new Notices(listener, Notices.STANDARD_PAUSE), Time.REAL);
  }

  HttpReward(URI url, String token, Options options, Notices notices, Time time) {
    URI checked = ServerUrl.parse(url.toString());
    String path = checked.getRawPath();
    boolean bare = (path.isEmpty() || path.equals("/")) && checked.getRawQuery() == null;
    this.url = bare ? checked.resolve(PATH) : checked;
    this.token = token == null ? null : RewardToken.checked(token);
    this.options = options;
    this.notices = notices;
    this.time = time;
    // Version 1.1: a request to upgrade confuses some servers. Redirects could carry the token
    // away.
    this.client =
        HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .followRedirects(HttpClient.Redirect.NEVER)
            .build();
  }

  /**
   * Asks the server.
   *
   * @throws RlhfException that names the URL: where the server is not there or too slow, refuses
   *     the request, or answers with anything but one number for each response
   */
  @Override
  public double[] rewards(List<Completion> completions) {
    double[] rewards = new double[completions.size()];
    for (int from = 0; from < rewards.length; from += options.batchSize()) {
      int to = Math.min(rewards.length, from + options.batchSize());
      double[] part = ask(completions.subList(from, to));
      System.arraycopy(part, 0, rewards, from, part.length);
    }
    return rewards;
  }

  private double[] ask(List<Completion> completions) {
    byte[] body = body(completions);
    long start = time.nanos();
    double wait = options.firstWaitSeconds();
    noticed = null;
    for (int attempt = 1; ; attempt++) {
      String failure;
      Throwable cause = null;
      double asked = 0;
      double patience = Math.min(options.longestAttempt(), left(start));
      try {
        HttpResponse<byte[]> response = send(body, patience, start);
        if (!isWorthAnother(response.statusCode())) {
          double[] rewards = read(response, completions);
          if (noticed != null) {
            notices.listener().accept(url + ": answers again");
          }
          return rewards;
        }
        failure = refusal(response);
        asked = retryAfter(response);
      } catch (IOException e) {
        failure = "cannot be reached: " + reason(e);
        cause = e;
      } catch (TimeoutException e) {
        failure = "no answer within %s s".formatted(Format.number(patience));
        cause = e;
      }
      double pause = Math.max(Math.min(wait, options.longestWait()), asked);
      if (isOver(attempt, left(start) - pause)) {
        throw RlhfException.environment(
            "%s: %s (%s)".formatted(url, failure, after(attempt)), cause);
      }
      String end =
          options.isLimited()
              ? until(start)
              : "after %d of %d attempts".formatted(attempt, options.attempts());
      tell(failure + "; it is asked again, " + end);
      sleep(pause);
      wait *= 2;
    }
  }

  /** Says how it stands, unless something was said just before. */
  private void tell(String line) {
    long now = time.nanos();
    if (noticed == null || now - noticed >= pause()) {
      noticed = now;
      notices.listener().accept(url + ": " + line);
    }
  }

  private long pause() {
    return (long) (notices.pauseSeconds() * 1e9);
  }

  private String until(long start) {
    return "for %s more (reward_timeout_s %s)"
        .formatted(Format.duration(left(start)), Format.number(options.timeoutSeconds()));
  }

  /** Seconds until an answer comes too late. */
  private double left(long start) {
    return Math.max(0, options.limit() - (time.nanos() - start) * 1e-9);
  }

  /** Whether no other attempt is made, which would have so many seconds. */
  private boolean isOver(int attempts, double left) {
    // In less than a wait little can be answered, and the message would tell of that one.
    return options.isLimited() ? left <= options.longestWait() : attempts == options.attempts();
  }

  private String after(int attempts) {
    String count = attempts == 1 ? "1 attempt" : attempts + " attempts";
    return options.isLimited()
        ? "%s, each of at most a quarter of reward_timeout_s %s; more of it helps where the server is slow or starts late"
            .formatted(count, Format.number(options.timeoutSeconds()))
        : count;
  }

  private void sleep(double seconds) {
    try {
      time.sleep((long) (seconds * 1e9));
    } catch (InterruptedException e) {
      throw interrupted(e);
    }
  }

  private static RlhfException interrupted(InterruptedException e) {
    Thread.currentThread().interrupt();
    return RlhfException.environment("interrupted while waiting for the reward server", e);
  }

  private byte[] body(List<Completion> completions) {
    ObjectNode request = JSON.createObjectNode();
    ArrayNode queries = request.putArray("query");
    ArrayNode prompts = request.putArray("prompts");
    ArrayNode labels = request.putArray("labels");
    for (Completion completion : completions) {
      queries.add(completion.prompt() + completion.text());
      prompts.add(completion.prompt());
      labels.add("");
    }
    byte[] body;
    try {
      body = JSON.writeValueAsBytes(request);
    } catch (JsonProcessingException e) {
      throw RlhfException.input(
          "%s: %s or a later one cannot be sent: %s"
              .formatted(url, completions.get(0).place(), e.getOriginalMessage()),
          e);
    }
    if (body.length > options.largestBodyBytes()) {
      throw RlhfException.input(
          "%s: a request of %d texts has %d bytes, at most %d are sent; lower generation_batch_size"
              .formatted(url, completions.size(), body.length, options.largestBodyBytes()));
    }
    return body;
  }

  private HttpResponse<byte[]> send(byte[] body, double patience, long start)
      throws IOException, TimeoutException {
    long wait = (long) Math.ceil(Math.min(patience, LONGEST_PREFERENCE));
    HttpRequest.Builder request =
        HttpRequest.newBuilder(url)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json")
            .header("Prefer", "wait=" + wait)
            .POST(HttpRequest.BodyPublishers.ofByteArray(body));
    if (token != null) {
      request.header("Authorization", "Bearer " + token);
    }
    // The request's own timeout would end with the headers, this one ends with the body.
    CompletableFuture<HttpResponse<byte[]>> answer =
        client.sendAsync(request.build(), info -> new BoundedBody(url, options.largestBodyBytes()));
    try {
      return await(answer, patience, start);
    } catch (TimeoutException e) {
      answer.cancel(true);
      throw e;
    } catch (InterruptedException e) {
      answer.cancel(true);
      throw interrupted(e);
    } catch (ExecutionException e) {
      for (Throwable cause = e; cause != null; cause = cause.getCause()) {
        if (cause instanceof RlhfException known) {
          throw known;
        }
      }
      if (e.getCause() instanceof IOException failure) {
        throw failure;
      }
      throw new IllegalStateException("sending fails with nothing but I/O", e);
    }
  }

  /** Waits for an answer, and says now and then that there is none yet. */
  private <T> T await(Future<T> answer, double patience, long start)
      throws InterruptedException, ExecutionException, TimeoutException {
    // Without a limit the largest number.
    long limit = (long) (patience * 1e9);
    long begun = time.nanos();
    while (true) {
      long now = time.nanos();
      long quietSince = noticed == null ? begun : Math.max(begun, noticed);
      long untilNotice = pause() - (now - quietSince);
      try {
        return time.await(answer, Math.min(limit - (now - begun), untilNotice));
      } catch (TimeoutException e) {
        long waited = time.nanos() - begun;
        if (waited >= limit) {
          throw e;
        }
        String end =
            options.isLimited()
                ? "and asked again, " + until(start)
                : "without a limit (reward_timeout_s 0)";
        tell(
            "no answer yet after %s s; it is waited for %s"
                .formatted(Format.number(waited * 1e-9), end));
      }
    }
  }

  private static boolean isWorthAnother(int status) {
    // What does not take POST at all never will.
    return status == REQUEST_TIMEOUT
        || status == TOO_MANY_REQUESTS
        || (status >= SERVER_FAILURE && status != NOT_IMPLEMENTED);
  }

  private static String reason(IOException e) {
    if (e.getMessage() != null) {
      return e.getMessage();
    } else if (e.getCause() instanceof UnresolvedAddressException) {
      return "the host is not known";
    }
    return e instanceof ConnectException ? "the connection is refused" : e.getClass().getName();
  }

  /** Seconds that the server asks for; 0 where it does not, or gives a date. */
  private static double retryAfter(HttpResponse<byte[]> response) {
    String value = response.headers().firstValue("Retry-After").orElse("");
    return value.matches("[0-9]{1,6}") ? Integer.parseInt(value) : 0;
  }

  /** The status with what the server says of it. */
  private static String refusal(HttpResponse<byte[]> response) {
    String text = new String(response.body(), StandardCharsets.UTF_8);
    JsonNode json = details(response);
    for (String field : List.of("error", "detail", "message")) {
      if (json.path(field).isTextual()) {
        text = json.path(field).asText();
      }
    }
    String shown = DisplayText.cut(DisplayText.oneLine(text.strip()), BODY_SHOWN);
    return "answers " + response.statusCode() + (shown.isEmpty() ? "" : ": " + shown);
  }

  /** What the server says in JSON; a node without fields where it does not. */
  private static JsonNode details(HttpResponse<byte[]> response) {
    try {
      return JSON.readTree(new String(response.body(), StandardCharsets.UTF_8));
    } catch (JsonProcessingException e) {
      // Shown as the text that it is.
      return MissingNode.getInstance();
    }
  }

  private double[] read(HttpResponse<byte[]> response, List<Completion> completions) {
    int status = response.statusCode();
    if (status == UNAUTHORIZED || status == FORBIDDEN) {
      throw RlhfException.config(
          "%s: %s; the token is what the environment variable %s holds, %s"
              .formatted(
                  url,
                  refusal(response),
                  RewardToken.VARIABLE,
                  token == null ? "and none is set" : "and another is needed"));
    } else if (status >= 300 && status < 400) {
      String place = response.headers().firstValue("Location").orElse("nowhere");
      throw RlhfException.config(
          "%s: answers %d, moved to %s; redirects are not followed"
              .formatted(url, status, DisplayText.cut(DisplayText.oneLine(place), BODY_SHOWN)));
    } else if (status >= 400) {
      String message =
          "%s: %s (the first of %d texts is %s)"
              .formatted(url, refusal(response), completions.size(), completions.get(0).place());
      throw details(response).path(ERROR_TYPE).asText().equals(NON_FINITE)
          ? RlhfException.nonFinite(message)
          : RlhfException.input(message);
    }
    JsonNode answer = parse(response.body());
    JsonNode rewards = answer.has(REWARDS) ? answer.get(REWARDS) : answer.get(SCORES);
    if (rewards == null || !rewards.isArray()) {
      throw unreadable(
          "the answer has no list %s, nor %s".formatted(REWARDS, SCORES), response.body(), null);
    }
    if (rewards.size() != completions.size()) {
      throw RlhfException.input(
          "%s: gave %d rewards for %d responses; one for each is needed"
              .formatted(url, rewards.size(), completions.size()));
    }
    double[] values = new double[rewards.size()];
    for (int i = 0; i < values.length; i++) {
      if (!rewards.get(i).isNumber()) {
        throw RlhfException.input(
            "%s: the reward of %s is no number but %s"
                .formatted(
                    url,
                    completions.get(i).place(),
                    DisplayText.cut(DisplayText.oneLine(rewards.get(i).toString()), BODY_SHOWN)));
      }
      values[i] = rewards.get(i).doubleValue();
    }
    return values;
  }

  private JsonNode parse(byte[] body) {
    try {
      return JSON.readTree(new String(body, StandardCharsets.UTF_8));
    } catch (JsonProcessingException e) {
      throw unreadable("the answer is no JSON: " + e.getOriginalMessage(), body, e);
    }
  }

  private RlhfException unreadable(String what, byte[] body, Throwable cause) {
    String text =
        new String(body, 0, Math.min(body.length, 4 * BODY_SHOWN), StandardCharsets.UTF_8);
    String shown = DisplayText.cut(DisplayText.oneLine(text.strip()), BODY_SHOWN);
    return RlhfException.input(
        "%s: %s; it begins with: %s".formatted(url, DisplayText.oneLine(what), shown), cause);
  }
}
