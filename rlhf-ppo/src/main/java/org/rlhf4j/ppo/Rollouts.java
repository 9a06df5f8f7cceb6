package org.rlhf4j.ppo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.data.TokenRowWriter;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TrainingRun;

/** Draws responses from the policy and measures them, in parts, so that it can be stopped. */
final class Rollouts {
  private final TrainingRun run;
  private final PpoNetworks networks;
  private final Generator generator;
  private final Rewards rewards;
  private final Settings settings;
  private Runnable beforeFailure = () -> {};

  /**
   * How roll-outs are made.
   *
   * @param batchSize responses that are drawn and measured side by side
   * @param seed of all draws
   * @param stop looked at between two batches
   */
  record Settings(int batchSize, long seed, StopSignal stop) {}

  /** Roll-outs of a run; everything is the caller's to close. */
  Rollouts(
      TrainingRun run,
      PpoNetworks networks,
      Generator generator,
      Rewards rewards,
      Settings settings) {
    this.run = run;
    this.networks = networks;
    this.generator = generator;
    this.rewards = rewards;
    this.settings = settings;
  }

  /** What is done where the reward fails, before that is thrown: the networks are unharmed. */
  void beforeFailure(Runnable rescue) {
    beforeFailure = rescue;
  }

  /**
   * Prompts to answer.
   *
   * @param phase for the progress bars
   * @param prompts at least one
   * @param answers the data set's own, by the prompt's index; looked at for a delta reward only
   * @param round another round draws other responses
   */
  record Draw(
      String phase, List<PromptRow> prompts, Map<Integer, Completion> answers, long round) {}

  /**
   * Draws one response to each prompt, and measures.
   *
   * @param cache is filled with the states of the rows; null: they are not kept
   * @throws StopSignal.Stopped where somebody asked to stop
   */
  Rollout make(Draw draw, TrunkCache cache) {
    long begun = System.nanoTime();
    List<Response> responses = sample(draw);
    long sampled = System.nanoTime();
    Rewards.Found found;
    try {
      found = reward(draw, responses);
    } catch (RlhfException e) {
      try {
        beforeFailure.run();
      } catch (RlhfException failed) {
        e.addSuppressed(failed);
      }
      throw e;
    }
    List<TokenRow> rows = new ArrayList<>();
    for (int i = 0; i < responses.size(); i++) {
      rows.add(Experience.row(draw.prompts().get(i).ids(), responses.get(i).tokenIds()));
    }
    PpoNetworks.Scored[] scored = score(draw, rows, cache);
    long done = System.nanoTime();
    return new Rollout(
        draw.prompts(),
        responses,
        found.scores(),
        found.tokenScores(),
        Arrays.stream(scored).map(PpoNetworks.Scored::logProbs).toArray(float[][]::new),
        Arrays.stream(scored).map(PpoNetworks.Scored::referenceLogProbs).toArray(float[][]::new),
        Arrays.stream(scored).map(PpoNetworks.Scored::values).toArray(float[][]::new),
        new Rollout.Seconds((sampled - begun) * 1e-9, (done - sampled) * 1e-9));
  }

  private List<Response> sample(Draw draw) {
    List<PromptRow> prompts = draw.prompts();
    Generator.Plan plan =
        new Generator.Plan(1, settings.batchSize(), settings.seed(), draw.round());
    Response[] responses = new Response[prompts.size()];
    Integer[] byLength = new Integer[prompts.size()];
    Arrays.setAll(byLength, i -> i);
    Arrays.sort(byLength, Comparator.comparingInt(i -> prompts.get(i).ids().length));
    try (Progress progress =
        run.console().progress(draw.phase() + ": sample", prompts.size(), "prompts")) {
      for (int from = 0; from < byLength.length; from += settings.batchSize()) {
        settings.stop().check();
        List<Integer> places =
            List.of(byLength).subList(from, Math.min(byLength.length, from + settings.batchSize()));
        List<List<Response>> batch =
            generator.generate(places.stream().map(prompts::get).toList(), plan, done -> {});
        for (int i = 0; i < places.size(); i++) {
          responses[places.get(i)] = batch.get(i).get(0);
        }
        progress.advance(places.size());
      }
    }
    return List.of(responses);
  }

  private Rewards.Found reward(Draw draw, List<Response> responses) {
    List<Completion> completions = new ArrayList<>();
    for (int i = 0; i < responses.size(); i++) {
      completions.add(completion(draw.prompts().get(i), responses.get(i)));
    }
    double[] scores = new double[completions.size()];
    double[][] tokenScores = new double[completions.size()][];
    boolean isDense = false;
    try (Progress progress =
        run.console().progress(draw.phase() + ": reward", scores.length, "responses")) {
      for (int from = 0; from < scores.length; from += settings.batchSize()) {
        settings.stop().check();
        int to = Math.min(scores.length, from + settings.batchSize());
        Rewards.Found found = rewards.of(completions.subList(from, to), draw.answers());
        System.arraycopy(found.scores(), 0, scores, from, to - from);
        isDense = found.tokenScores() != null;
        if (isDense) {
          System.arraycopy(found.tokenScores(), 0, tokenScores, from, to - from);
        }
        progress.advance(to - from);
      }
    }
    return new Rewards.Found(scores, isDense ? tokenScores : null);
  }

  /** A response with its prompt, as a reward function takes it. */
  static Completion completion(PromptRow prompt, Response response) {
    return new Completion(
        prompt.index(), 0, prompt.text(), response.text(), prompt.ids(), response.tokenIds());
  }

  private PpoNetworks.Scored[] score(Draw draw, List<TokenRow> rows, TrunkCache cache) {
    PpoNetworks.Scored[] scored = new PpoNetworks.Scored[rows.size()];
    try (Progress progress =
        run.console().progress(draw.phase() + ": score", rows.size(), "responses")) {
      for (int[] places : TrunkCache.batches(rows, settings.batchSize())) {
        settings.stop().check();
        List<TokenRow> part = Arrays.stream(places).mapToObj(rows::get).toList();
        List<PpoNetworks.Scored> found =
            run.guarded(
                () -> part.stream().map(TokenRowWriter::line).toList(),
                () -> score(part, places, cache));
        for (int i = 0; i < places.length; i++) {
          scored[places[i]] = found.get(i);
        }
        progress.advance(places.length);
      }
    }
    return scored;
  }

  private List<PpoNetworks.Scored> score(List<TokenRow> rows, int[] places, TrunkCache cache) {
    TokenBatch batch = TokenBatch.ofTargets(rows);
    try (TensorScope scope = run.torch().scope()) {
      PpoNetworks.States states = networks.states(scope, batch);
      PpoNetworks.Scored all = networks.score(batch, states);
      if (cache != null) {
        cache.keep(places, rows, states);
      }
      return split(rows, all);
    }
  }

  /** What the networks say of one row by itself, whatever its batch was. */
  PpoNetworks.Scored alone(TokenRow row) {
    return score(List.of(row), new int[1], null).get(0);
  }

  private static List<PpoNetworks.Scored> split(List<TokenRow> rows, PpoNetworks.Scored all) {
    for (float[] numbers :
        List.of(all.logProbs(), all.referenceLogProbs(), all.values(), all.entropies())) {
      for (float number : numbers) {
        if (!Float.isFinite(number)) {
          throw RlhfException.nonFinite(
              "the networks compute " + number + " for a response; weights or dtype are unusable");
        }
      }
    }
    List<PpoNetworks.Scored> byRow = new ArrayList<>();
    int from = 0;
    for (TokenRow row : rows) {
      int to = from + row.targetCount();
      byRow.add(
          new PpoNetworks.Scored(
              Arrays.copyOfRange(all.logProbs(), from, to),
              Arrays.copyOfRange(all.referenceLogProbs(), from, to),
              Arrays.copyOfRange(all.values(), from, to),
              Arrays.copyOfRange(all.entropies(), from, to)));
      from = to;
    }
    return byRow;
  }
}
