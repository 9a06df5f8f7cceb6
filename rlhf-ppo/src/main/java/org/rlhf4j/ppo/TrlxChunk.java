package org.rlhf4j.ppo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.model.TokenBatch.Blind;
import org.rlhf4j.core.model.TokenBatch.PlacedRow;
import org.rlhf4j.ppo.rollout.Lengths;

/**
 * Prompts and responses of which trlX makes experience at once: prompts are padded on the left,
 * responses on the right, each to the longest. Only real tokens are computed, and the one padding
 * token behind a response whose value trlX keeps.
 */
final class TrlxChunk {
  private final TrlxCompat version;
  private final TrlxPlaces places;
  private final int padId;
  private final List<int[]> prompts;
  private final List<int[]> responses;
  private final int promptWidth;
  private final int responseWidth;

  /**
   * A chunk.
   *
   * @param prompts ids without padding
   * @param encoded ids of the responses after their way through text. Padding ids at their ends are
   *     padding: so is EOS where that is the padding token
   */
  TrlxChunk(
      TrlxCompat version, TrlxPlaces places, int padId, List<int[]> prompts, List<int[]> encoded) {
    Lengths.require("responses", encoded.size(), prompts.size());
    this.version = version;
    this.places = places;
    this.padId = padId;
    this.prompts = List.copyOf(prompts);
    this.responses = encoded.stream().map(ids -> withoutPadding(ids, padId)).toList();
    this.promptWidth = prompts.stream().mapToInt(ids -> ids.length).max().orElse(0);
    this.responseWidth = encoded.stream().mapToInt(ids -> ids.length).max().orElse(0);
    if (responseWidth == 0) {
      throw RlhfException.input(
          "trlx_compat: all responses of a chunk of " + prompts.size() + " are empty as text");
    }
  }

  private static int[] withoutPadding(int[] ids, int padId) {
    int length = ids.length;
    while (length > 0 && ids[length - 1] == padId) {
      length--;
    }
    return Arrays.copyOf(ids, length);
  }

  /** Positions of a response that are kept. */
  private int kept(int[] response) {
    return Math.min(response.length + version.extraPositions(), responseWidth);
  }

  /** Whether the value at the first padding token behind a response is kept. */
  private boolean hasBlind(int[] response) {
    return kept(response) == response.length + 2;
  }

  /** All predictions by real tokens, those by a prompt's tokens included, and the blind ones. */
  TokenBatch batch() {
    List<PlacedRow> rows = new ArrayList<>();
    for (int i = 0; i < prompts.size(); i++) {
      int[] prompt = prompts.get(i);
      int[] response = responses.get(i);
      int[] all = Arrays.copyOf(prompt, prompt.length + response.length + 1);
      System.arraycopy(response, 0, all, prompt.length, response.length);
      all[all.length - 1] = padId;
      // The last token of the longest response predicts nothing.
      int inputs = all.length - (response.length == responseWidth ? 2 : 1);
      int column = promptWidth + response.length;
      rows.add(
          new PlacedRow(
              Arrays.copyOf(all, inputs),
              Arrays.copyOfRange(all, 1, inputs + 1),
              places.first(promptWidth - prompt.length),
              hasBlind(response) ? new Blind(padId, padId, places.behind(column)) : null));
    }
    return TokenBatch.ofPlaced(rows);
  }

  /**
   * Experience.
   *
   * @param scored of {@link #batch}
   * @param scores after clipping and scaling: {@code [responses][1]}, or one for each token
   * @param coefficient β of the KL penalty
   * @throws RlhfException if there are more scores than positions
   */
  TrlxExperience experience(PpoNetworks.Scored scored, double[][] scores, double coefficient) {
    Lengths.require("scores", scores.length, prompts.size());
    boolean isWhole = Arrays.stream(scores).allMatch(row -> row.length == 1);
    List<TrlxSample> samples = new ArrayList<>();
    double kl = 0;
    int start = 0;
    for (int i = 0; i < prompts.size(); i++) {
      int[] response = responses.get(i);
      int promptLength = prompts.get(i).length;
      boolean blind = hasBlind(response);
      int predictions = promptLength + response.length - (response.length == responseWidth ? 1 : 0);
      double[] logRatios = new double[predictions + (blind ? 1 : 0)];
      for (int t = 0; t < predictions; t++) {
        logRatios[t] =
            (double) scored.logProbs()[start + t] - scored.referenceLogProbs()[start + t];
        kl += Math.expm1(logRatios[t]) - logRatios[t];
      }
      int kept = kept(response);
      int first = start + promptLength - 1;
      double[] rewards = new double[kept];
      for (int t = 0; t < kept; t++) {
        rewards[t] = -coefficient * logRatios[promptLength - 1 + t];
      }
      addScores(rewards, scores[i], isWhole);
      samples.add(
          new TrlxSample(
              prompts.get(i),
              promptWidth,
              response,
              responseWidth,
              part(scored.logProbs(), first, kept),
              part(scored.referenceLogProbs(), first, kept),
              part(scored.values(), first, kept),
              rewards));
      start += logRatios.length;
    }
    int tokens = prompts.size() * (promptWidth + responseWidth - 1);
    return new TrlxExperience(List.copyOf(samples), kl / prompts.size(), kl / tokens);
  }

  private static void addScores(double[] rewards, double[] scores, boolean isWhole) {
    if (isWhole) {
      rewards[rewards.length - 1] += scores[0];
      return;
    }
    if (scores.length > rewards.length) {
      throw RlhfException.input(
          "trlx_compat: %d scores for a response with %d positions"
              .formatted(scores.length, rewards.length));
    }
    for (int t = 0; t < scores.length; t++) {
      rewards[t] += scores[t];
    }
  }

  private static double[] part(float[] numbers, int from, int count) {
    double[] part = new double[count];
    Arrays.setAll(part, i -> numbers[from + i]);
    return part;
  }
}
