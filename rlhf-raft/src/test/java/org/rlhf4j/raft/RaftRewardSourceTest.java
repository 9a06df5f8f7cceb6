package org.rlhf4j.raft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.testing.SameRuns;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.Compute;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.reward.ModelReward;
import org.rlhf4j.reward.RewardServer;

/** Rewards from elsewhere than a folder, and their troubles. */
@Timeout(300)
class RaftRewardSourceTest {
  private static final int BATCH = 8;

  @TempDir Path temporary;
  private Path model;
  private Path reward;
  private Path prompts;

  @BeforeEach
  void files() throws IOException {
    model = TinyModel.causalLm(temporary.resolve("model"), 1);
    reward = TinyModel.rewardModel(temporary.resolve("reward"), 3);
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < 7; i++) {
      rows.add("{\"prompt\": \"Tell me %s\"}".formatted("more ".repeat(i % 3)));
    }
    prompts = Files.write(temporary.resolve("prompts.jsonl"), rows);
  }

  private ConfigBuilder<RaftConfig> builder(String output) {
    return Config.of(RaftConfig.class)
        .set("model_name_or_path", model.toString())
        .set("dataset_path", prompts.toString())
        .set("eval_dataset_path", prompts.toString())
        .set("output_dir", temporary.resolve(output).toString())
        .set("dtype", "fp32")
        .set("device", "cpu")
        .set("learning_rate", 1e-2)
        .set("max_length", 64)
        .set("max_new_tokens", 8)
        .set("num_raft_iterations", 3)
        .set("prompts_per_iteration", 5)
        .set("samples_per_prompt", 4)
        .set("keep_fraction", 0.25)
        .set("generation_batch_size", BATCH)
        .set("per_device_train_batch_size", 2)
        .set("epochs_per_iteration", 1)
        .set("logging_steps", 1)
        .set("resume_from_checkpoint", "auto");
  }

  private static void train(ConfigBuilder<RaftConfig> builder) {
    new RaftTrainer(builder.requirePaths().build(), RunContext.silent()).train();
  }

  /** The reward model on a port of its own, in a thread of its own. */
  private final class Served implements AutoCloseable {
    private final StopSignal stop = new StopSignal();
    private final Compute compute = Compute.open("cpu", DtypeChoice.FP32);
    private final ModelReward scores =
        ModelReward.open(compute.torch(), reward, compute.type(), BATCH);
    private final RewardServer server;
    private final Thread thread;

    /** Serves until it is gone. */
    Served(int port, BooleanSupplier gone) {
      InetSocketAddress address = new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
      server =
          RewardServer.open(
              new RewardServer.Options(address, 1 << 20, null),
              texts -> scores.scores("query", texts),
              Console.silent());
      thread =
          new Thread(
              () -> {
                server.serve(() -> stop.requested() || gone.getAsBoolean());
                server.close();
              });
      thread.start();
    }

    @Override
    public void close() throws InterruptedException {
      stop.request(ExitCode.TERMINATED);
      thread.join();
      scores.close();
      compute.close();
    }
  }

  /** Once a server is gone, says in its place that it is for longer than anybody waits. */
  private static final class Closed implements AutoCloseable {
    private final Served served;
    private final Thread thread;
    private HttpServer sign;

    Closed(int port, Served served) {
      this.served = served;
      thread =
          new Thread(
              () -> {
                try {
                  served.thread.join();
                  sign = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
                } catch (IOException | InterruptedException e) {
                  throw new IllegalStateException(e);
                }
                sign.createContext(
                    "/",
                    exchange -> {
                      exchange.getResponseHeaders().set("Retry-After", "999999");
                      exchange.sendResponseHeaders(503, -1);
                      exchange.close();
                    });
                sign.start();
              });
      thread.start();
    }

    @Override
    public void close() throws InterruptedException {
      // Where the run has ended before its time.
      served.stop.request(ExitCode.TERMINATED);
      thread.join();
      sign.stop(0);
    }
  }

  @Test
  void aServerTrainsToTheBitsOfItsFolder() throws Exception {
    train(builder("folder").set("reward_model_name_or_path", reward.toString()));
    try (Served served = new Served(0, () -> false)) {
      String url = served.server.url().toString();
      train(builder("url").set("reward_model_name_or_path", url));
    }
    SameRuns.assertSame(temporary.resolve("folder"), temporary.resolve("url"));
    for (int i = 1; i <= 3; i++) {
      SameRuns.assertSameFile(
          temporary.resolve("folder"),
          temporary.resolve("url"),
          "iterations/iteration-" + i + "/samples.jsonl");
    }
  }

  @Test
  void aServerThatGoesDownCostsNothingButTime() throws Exception {
    train(builder("whole").set("reward_model_name_or_path", reward.toString()));
    Path drawn = temporary.resolve("cut/iterations/iteration-2/samples.jsonl");
    // Of two sockets that share a port one may listen; nobody else gets it meanwhile.
    try (Socket port = new Socket()) {
      port.setReuseAddress(true);
      port.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
      ConfigBuilder<RaftConfig> cut =
          builder("cut")
              .set("reward_model_name_or_path", "http://127.0.0.1:" + port.getLocalPort());
      // Three requests for an iteration's 20 responses, one for the 7 held-out prompts.
      try (Served served = new Served(port.getLocalPort(), () -> Files.exists(drawn));
          Closed closed = new Closed(port.getLocalPort(), served)) {
        RlhfException down = assertThrows(RlhfException.class, () -> train(cut));
        assertEquals(ExitCode.ENVIRONMENT, down.exitCode());
        String url = served.server.url().toString();
        assertTrue(down.getMessage().startsWith(url + ": answers 503"), down.getMessage());
        assertTrue(served.server.requests() < 8, served.server.requests() + " requests");
      }
      assertFalse(Files.exists(temporary.resolve("cut/model.safetensors")));
      assertTrue(Files.exists(drawn));
      try (Served served = new Served(port.getLocalPort(), () -> false)) {
        // Another patience is no other run.
        train(cut.set("reward_timeout_s", 500));
        // Iteration 1 is not asked for again.
        assertEquals(8, served.server.requests());
      }
    }
    SameRuns.assertSame(temporary.resolve("whole"), temporary.resolve("cut"));
  }

  @Test
  void anotherServerIsAnotherRun() throws Exception {
    try (Served served = new Served(0, () -> false)) {
      String url = served.server.url().toString();
      ConfigBuilder<RaftConfig> builder =
          builder("out").set("reward_model_name_or_path", url).set("num_raft_iterations", 1);
      train(builder);
      RlhfException refused =
          assertThrows(
              RlhfException.class,
              () -> train(builder.set("reward_model_name_or_path", url + "?model=2")));
      assertEquals(ExitCode.CONFIG, refused.exitCode());
      assertTrue(refused.getMessage().contains("reward_model_name_or_path: the run was started"));
    }
  }

  @Test
  void aJavaFunctionThatHangsEndsTheRun() {
    RaftConfig config = builder("hangs").set("reward_timeout_s", 0.3).build();
    CountDownLatch never = new CountDownLatch(1);
    RlhfException found =
        assertThrows(
            RlhfException.class,
            () ->
                new RaftTrainer(
                        config,
                        RunContext.silent(),
                        completions -> {
                          try {
                            never.await();
                          } catch (InterruptedException e) {
                            Thread.currentThread().interrupt();
                          }
                          return new double[completions.size()];
                        })
                    .train());
    assertEquals(ExitCode.ENVIRONMENT, found.exitCode());
    assertTrue(
        found.getMessage().startsWith("the reward function gave no answer within 0.3 s"),
        found.getMessage());
  }

  @Test
  void aNameThatIsNeitherFolderNorServerIsRefused() throws IOException {
    for (String name : List.of("runs/absent", "localhost:5000")) {
      RlhfException absent =
          assertThrows(
              RlhfException.class,
              () -> train(builder("out").set("reward_model_name_or_path", name)));
      assertEquals(ExitCode.INPUT, absent.exitCode());
      assertEquals(
          "reward_model_name_or_path: no such folder: "
              + name
              + "; a server's URL begins with http:// or https://",
          absent.getMessage());
    }
    Files.delete(model.resolve("tokenizer.json"));
    Files.writeString(prompts, "{\"input_ids\": [256, 97]}\n");
    RlhfException ids =
        assertThrows(
            RlhfException.class,
            () -> train(builder("ids").set("reward_model_name_or_path", "http://127.0.0.1:9")));
    assertEquals(ExitCode.CONFIG, ids.exitCode());
    assertTrue(ids.getMessage().contains("http://127.0.0.1:9 reads texts, and "), ids.getMessage());
  }
}
