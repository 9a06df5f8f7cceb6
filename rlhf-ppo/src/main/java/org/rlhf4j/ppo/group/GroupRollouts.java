package org.rlhf4j.ppo.group;

import java.util.Arrays;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.data.TokenRowWriter;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TrainingRun;
import org.rlhf4j.ppo.rollout.Responses;
import org.rlhf4j.ppo.rollout.Seconds;

/** Draws groups of responses from the policy and measures them, in parts. */
final class GroupRollouts {
  private final TrainingRun run;
  private final GroupNetworks networks;
  private final Responses responses;
  private final Settings settings;

  /**
   * How roll-outs are made.
   *
   * @param partSize responses to one prompt that are computed together at most
   * @param batchSize responses that are drawn and measured side by side
   * @param stop looked at between two batches
   */
  record Settings(int partSize, int batchSize, StopSignal stop) {}

  /** Roll-outs of a run; everything is the caller's to close. */
  GroupRollouts(TrainingRun run, GroupNetworks networks, Responses responses, Settings settings) {
    this.run = run;
    this.networks = networks;
    this.responses = responses;
    this.settings = settings;
  }

  /**
   * Draws so many responses to each prompt, and measures.
   *
   * @param ofPolicy whether the policy's log-probabilities are measured too; the reference's are
   *     where there is one
   * @param trunk is filled with the states of what is measured; null: they are not kept
   * @throws StopSignal.Stopped where somebody asked to stop
   */
  GroupRollout make(Responses.Draw draw, int samples, boolean ofPolicy, GroupTrunk trunk) {
    long begun = System.nanoTime();
    Responses.Drawn drawn = responses.draw(draw, samples);
    int size = drawn.responses().size();
    float[][] logProbs = ofPolicy ? new float[size][] : null;
    float[][] reference = networks.hasReference() ? new float[size][] : null;
    if (logProbs != null || reference != null) {
      List<TokenRow> rows = GroupRollout.rows(drawn.prompts(), drawn.responses());
      GroupParts parts = GroupParts.of(rows, samples, settings.partSize());
      score(draw.phase(), parts, trunk, logProbs, reference);
    }
    long done = System.nanoTime();
    return new GroupRollout(
        samples,
        drawn.prompts(),
        drawn.responses(),
        drawn.rewards().scores(),
        logProbs,
        reference,
        new Seconds((drawn.sampledAt() - begun) * 1e-9, (done - drawn.sampledAt()) * 1e-9));
  }

  /** Fills in the log-probabilities that are asked for. */
  private void score(
      String phase, GroupParts parts, GroupTrunk trunk, float[][] logProbs, float[][] reference) {
    try (Progress progress =
        run.console().progress(phase + ": score", parts.rows().size(), "responses")) {
      for (List<Integer> some : parts.batches(parts.all(), settings.batchSize())) {
        settings.stop().check();
        int[] places = parts.placesOf(some);
        run.guarded(
            () ->
                Arrays.stream(places)
                    .mapToObj(place -> TokenRowWriter.line(parts.rows().get(place)))
                    .toList(),
            () -> {
              parts.sideBySide(
                  run.torch(), some, piece -> score(parts, piece, trunk, logProbs, reference));
              return places;
            });
        progress.advance(places.length);
      }
    }
  }

  private void score(
      GroupParts parts,
      List<Integer> some,
      GroupTrunk trunk,
      float[][] logProbs,
      float[][] reference) {
    TokenBatch batch = parts.batch(some);
    int[] places = parts.placesOf(some);
    try (TensorScope scope = run.torch().scope()) {
      Tensor states = networks.trunk(scope, batch);
      if (trunk != null) {
        trunk.keep(parts, some, states);
      }
      if (logProbs != null) {
        spread(networks.logProbs(batch, states), parts, places, logProbs);
      }
      if (reference != null) {
        spread(networks.referenceLogProbs(batch, states), parts, places, reference);
      }
    }
  }

  /** What the policy says of one row by itself, whatever its batch was. */
  float[] alone(TokenRow row) {
    float[][] logProbs = new float[1][];
    GroupParts parts = GroupParts.of(List.of(row), 1, 1);
    score(parts, parts.all(), null, logProbs, null);
    return logProbs[0];
  }

  private static void spread(float[] flat, GroupParts parts, int[] places, float[][] byRow) {
    int from = 0;
    for (int place : places) {
      int to = from + parts.rows().get(place).targetCount();
      byRow[place] = Arrays.copyOfRange(flat, from, to);
      from = to;
    }
    for (float number : flat) {
      if (!Float.isFinite(number)) {
        throw RlhfException.nonFinite(
            "the networks compute " + number + " for a response; weights or dtype are unusable");
      }
    }
  }
}
