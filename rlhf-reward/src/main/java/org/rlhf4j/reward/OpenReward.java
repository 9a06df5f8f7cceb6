package org.rlhf4j.reward;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.ServerUrl;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Provenance;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunCheck;
import org.rlhf4j.core.train.TrainingRun;

/** The reward of a run, wherever it comes from: a folder, a server, or a Java function. */
public final class OpenReward implements RewardFunction, AutoCloseable {
  private final String name;
  private final String identity;
  private final RewardFunction function;
  private final Runnable closing;
  private final int context;

  private OpenReward(
      String name, String identity, RewardFunction function, Runnable closing, int context) {
    this.name = name;
    this.identity = identity;
    this.function = function;
    this.closing = closing;
    this.context = context;
  }

  /**
   * Opens what a configuration names, or takes a function.
   *
   * @param function of Java code, or null: {@code source} names a folder or a URL then
   * @param batchSize texts that are scored, or sent, side by side
   * @return closed by the caller
   * @throws RlhfException if a folder holds no reward model that can be used, and where texts are
   *     needed that a run without a tokenizer does not have
   */
  public static OpenReward open(
      TrainingRun run, RewardSourceConfig source, RewardFunction function, int batchSize) {
    String name = source.rewardModelNameOrPath();
    double seconds = source.rewardTimeoutS();
    if (function != null) {
      String what = "a Java function";
      TimedReward timed = new TimedReward(function, seconds, run.stop());
      return new OpenReward(what, null, timed, timed::close, Integer.MAX_VALUE);
    }
    if (ServerUrl.isMeant(name)) {
      requireTexts(run.tokenizer(), run.start(), name);
      HttpReward server =
          new HttpReward(
              ServerUrl.parse(name),
              RewardToken.fromEnvironment(),
              HttpReward.Options.standard(batchSize, seconds),
              run.console()::warn);
      // The server's own limit counts, which its attempts share.
      TimedReward heard = new TimedReward(server, 0, run.stop());
      return new OpenReward(name, identity(source), heard, heard::close, Integer.MAX_VALUE);
    }
    Path folder = Path.of(name);
    ModelReward model = ModelReward.open(run.torch(), folder, run.computeType(), batchSize);
    try {
      if (model.readsText()) {
        requireTexts(run.tokenizer(), run.start(), name);
      }
      return new OpenReward(name, identity(source), model, model::close, model.context());
    } catch (RuntimeException e) {
      model.close();
      throw e;
    }
  }

  private static void requireTexts(Tokenizer tokenizer, ModelFolder start, String name) {
    if (tokenizer == null) {
      throw RlhfException.config(
          "reward_model_name_or_path: %s reads texts, and %s has no tokenizer to make them"
              .formatted(name, start.path()));
    }
  }

  /**
   * Looks at what {@link #open} would open, without reading weights or asking a server.
   *
   * @param function of Java code, or null
   * @param longestRow see {@link #warnOfContext}
   */
  public static void check(
      RunCheck run, RewardSourceConfig source, RewardFunction function, int longestRow) {
    String name = source.rewardModelNameOrPath();
    Checks checks = run.checks();
    checks.require(() -> source.requireOne(function));
    if (name == null) {
      return;
    }
    if (ServerUrl.isMeant(name)) {
      checks.require(RewardToken::fromEnvironment);
      if (run.readsRows()) {
        checks.require(() -> requireTexts(run.tokenizer(), run.start(), name));
      }
      checks.fact("reward", name + ": a server, which was not asked");
      return;
    }
    ModelReward.Found found = ModelReward.check(Path.of(name), checks);
    if (found == null) {
      return;
    }
    DecoderSpec own = found.spec();
    contextWarning(own.maxPositions(), longestRow).ifPresent(checks::warn);
    if (!run.readsRows()) {
      return;
    }
    if (found.readsText()) {
      checks.require(() -> requireTexts(run.tokenizer(), run.start(), name));
    } else if (own.vocabularySize() < run.spec().vocabularySize()) {
      checks.warn(
          ("reward_model_name_or_path: the model has no tokenizer, so it reads the policy's tokens,"
                  + " and it knows %d of their %d; the first other one ends the run")
              .formatted(own.vocabularySize(), run.spec().vocabularySize()));
    }
  }

  /**
   * Says on the console where a folder's model may meet rows that it cannot read.
   *
   * @param longestRow tokens of prompt and response, at most
   */
  public void warnOfContext(Console console, int longestRow) {
    contextWarning(context, longestRow).ifPresent(console::warn);
  }

  private static Optional<String> contextWarning(int context, int longestRow) {
    return context < longestRow
        ? Optional.of(
            ("reward_model_name_or_path: the model's context is %d tokens, rows may have %d; the"
                    + " first longer one ends the run; a smaller max_length helps, with"
                    + " delta_reward only shorter answers of the data set")
                .formatted(context, longestRow))
        : Optional.empty();
  }

  /** What the start banner calls it: path, URL, or that it is a function. */
  public String name() {
    return name;
  }

  /**
   * What a resumed run must find again: the SHA-256 of the weights in hexadecimal, or the URL; null
   * where Java code gives the reward.
   */
  public String identity() {
    return identity;
  }

  /** What {@link #identity()} is where a configuration names the reward; null where it does not. */
  public static String identity(RewardSourceConfig source) {
    String name = source.rewardModelNameOrPath();
    return name == null || ServerUrl.isMeant(name) ? name : Provenance.weightsSha256(Path.of(name));
  }

  /**
   * How far the reward of a response may be from the same among others, by rounding alone.
   *
   * @param type that a folder's model computes with; a server may compute with any
   * @return a share of the reward, or of 1 where that is larger
   */
  public double tolerance(ElementType type) {
    boolean isFunction = identity == null;
    boolean isCoarse = ServerUrl.isMeant(name) || type != ElementType.FP32;
    // A score is one number behind all layers; in bf16 it has 8 bits.
    return isCoarse && !isFunction ? 5e-2 : 1e-4;
  }

  @Override
  public double[] rewards(List<Completion> completions) {
    return function.rewards(completions);
  }

  @Override
  public void close() {
    closing.run();
  }
}
