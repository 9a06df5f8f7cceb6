package org.rlhf4j.reward;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.file.Path;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.Compute;
import org.rlhf4j.core.train.StopSignal;

/** Serves a reward model's folder over HTTP until somebody asks to stop. */
public final class RewardServing {
  private final ServeRewardConfig config;
  private final String token;
  private final Console console;
  private final StopSignal stop;

  /**
   * Not yet begun.
   *
   * @param token that clients must send; null: none
   * @param console told the URL when the first request may come
   */
  public RewardServing(ServeRewardConfig config, String token, Console console, StopSignal stop) {
    this.config = config;
    this.token = token;
    this.console = console;
    this.stop = stop;
  }

  /**
   * Serves. All scores are computed in the calling thread.
   *
   * @throws RlhfException if the folder holds no reward model that reads texts, or the address
   *     cannot be used, or may not without a token
   */
  public void run() {
    InetSocketAddress address = address();
    Path folder = Path.of(config.modelNameOrPath());
    try (Compute compute = Compute.open(config.device(), config.dtype());
        ModelReward model =
            ModelReward.open(compute.torch(), folder, compute.type(), config.batchSize())) {
      requireTexts(folder, model.readsText());
      RewardServer.Options options =
          new RewardServer.Options(address, config.maxBodyMib() << 20, token);
      try (RewardServer server =
          RewardServer.open(options, texts -> model.scores(RewardServer.QUERY, texts), console)) {
        console.line(
            "serve-reward: %s answers at %s (%s, %s)"
                .formatted(
                    folder,
                    server.url(),
                    compute.dtypeName(),
                    token == null ? "without a token" : "with a token"));
        server.serve(stop::requested);
        console.line(
            "serve-reward: %s requests, %s texts"
                .formatted(Format.count(server.requests()), Format.count(server.texts())));
      }
    }
  }

  /** Looks at what would be served, and where, without loading weights or listening. */
  public void check(Checks checks) {
    checks.require(this::address);
    checks.device(config.device());
    Path folder = Path.of(config.modelNameOrPath());
    ModelReward.Found found = ModelReward.check(folder, checks);
    if (found != null) {
      checks.require(() -> requireTexts(folder, found.readsText()));
    }
  }

  private static void requireTexts(Path folder, boolean readsText) {
    if (!readsText) {
      throw RlhfException.input(folder + ": has no tokenizer, and requests are texts");
    }
  }

  private InetSocketAddress address() {
    InetAddress address;
    try {
      address = InetAddress.getByName(config.host());
    } catch (UnknownHostException e) {
      throw RlhfException.config("host: " + config.host() + " is no address of this machine");
    }
    if (!address.isLoopbackAddress() && token == null) {
      throw RlhfException.config(
          ("host: %s can be reached from other machines; set the environment variable %s to a token"
                  + " that clients must send, or listen at 127.0.0.1")
              .formatted(config.host(), RewardToken.VARIABLE));
    }
    return new InetSocketAddress(address, config.port());
  }
}
