package org.rlhf4j.ppo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.data.TokenRowWriter;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TrainingRun;
import org.rlhf4j.ppo.rollout.Responses;
import org.rlhf4j.ppo.rollout.Seconds;

/** Draws responses from the policy and measures them, in parts, so that it can be stopped. */
final class Rollouts {
  private final TrainingRun run;
  private final PpoNetworks networks;
  private final Responses responses;
  private final Responses.Settings settings;

  /** Roll-outs of a run; everything is the caller's to close. */
  Rollouts(
      TrainingRun run, PpoNetworks networks, Responses responses, Responses.Settings settings) {
    this.run = run;
    this.networks = networks;
    this.responses = responses;
    this.settings = settings;
  }

  /**
   * Draws one response to each prompt, and measures.
   *
   * @param cache is filled with the states of the rows; null: they are not kept
   * @throws StopSignal.Stopped where somebody asked to stop
   */
  Rollout make(Responses.Draw draw, TrunkCache cache) {
    long begun = System.nanoTime();
    Responses.Drawn drawn = responses.draw(draw, 1);
    List<TokenRow> rows = new ArrayList<>();
    for (int i = 0; i < drawn.responses().size(); i++) {
      rows.add(Responses.row(drawn.prompts().get(i).ids(), drawn.responses().get(i).tokenIds()));
    }
    PpoNetworks.Scored[] scored = score(draw, rows, cache);
    long done = System.nanoTime();
    return new Rollout(
        drawn.prompts(),
        drawn.responses(),
        drawn.rewards().scores(),
        drawn.rewards().tokenScores(),
        Arrays.stream(scored).map(PpoNetworks.Scored::logProbs).toArray(float[][]::new),
        Arrays.stream(scored).map(PpoNetworks.Scored::referenceLogProbs).toArray(float[][]::new),
        Arrays.stream(scored).map(PpoNetworks.Scored::values).toArray(float[][]::new),
        new Seconds((drawn.sampledAt() - begun) * 1e-9, (done - drawn.sampledAt()) * 1e-9));
  }

  private PpoNetworks.Scored[] score(Responses.Draw draw, List<TokenRow> rows, TrunkCache cache) {
    PpoNetworks.Scored[] scored = new PpoNetworks.Scored[rows.size()];
    try (Progress progress =
        run.console().progress(draw.phase() + ": score", rows.size(), "responses")) {
      for (int[] places : TrunkCache.batches(rows, settings.batchSize())) {
        settings.stop().check();
        List<PpoNetworks.Scored> found =
            run.guarded(
                () ->
                    Arrays.stream(places)
                        .mapToObj(place -> TokenRowWriter.line(rows.get(place)))
                        .toList(),
                () ->
                    TrunkCache.sideBySide(
                        run.torch(), rows, places, (part, some) -> score(part, some, cache)));
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
    for (float[] numbers : List.of(all.logProbs(), all.referenceLogProbs(), all.values())) {
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
              Arrays.copyOfRange(all.values(), from, to)));
      from = to;
    }
    return byRow;
  }
}
