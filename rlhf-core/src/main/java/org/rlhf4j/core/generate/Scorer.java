package org.rlhf4j.core.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.Function;
import java.util.function.IntConsumer;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.RewardModel;
import org.rlhf4j.core.model.TokenBatch;

/**
 * Scores many rows in batches of rows of similar length, so that the memory of a batch is bounded
 * by its number of rows and its longest row. A row's numbers do not depend on its batch but for
 * rounding.
 */
public final class Scorer {
  private final int batchSize;
  private final IntConsumer finished;

  /**
   * A scorer.
   *
   * @param batchSize rows of a batch, at least 1
   * @param finished told after each batch how many rows it had
   */
  public Scorer(int batchSize, IntConsumer finished) {
    this.batchSize = batchSize;
    this.finished = finished;
  }

  /**
   * Log-probabilities of the rows' targets in nats, in the order given: for each row one number per
   * target, in the order of its tokens.
   *
   * @param rows each with at least one target
   * @throws RlhfException if a number is not finite
   */
  public List<float[]> logProbs(CausalLm model, List<TokenRow> rows) {
    return inBatches(
        rows,
        batch -> {
          float[] flat = model.logProbs(TokenBatch.ofTargets(batch), false).logProbs();
          List<float[]> byRow = new ArrayList<>();
          int from = 0;
          for (TokenRow row : batch) {
            byRow.add(Arrays.copyOfRange(flat, from, from += row.targetCount()));
          }
          return byRow;
        });
  }

  /**
   * Scores of whole rows, read at their last tokens, in the order given, {@code [rows]}.
   *
   * @throws RlhfException if a score is not finite
   */
  public float[] scores(RewardModel model, List<TokenRow> rows) {
    List<float[]> byRow =
        inBatches(
            rows,
            batch -> {
              List<int[]> ids = batch.stream().map(TokenRow::ids).toList();
              List<float[]> found = new ArrayList<>();
              for (float score : model.scores(TokenBatch.ofLastTokens(ids))) {
                found.add(new float[] {score});
              }
              return found;
            });
    float[] scores = new float[rows.size()];
    for (int i = 0; i < scores.length; i++) {
      scores[i] = byRow.get(i)[0];
    }
    return scores;
  }

  private List<float[]> inBatches(
      List<TokenRow> rows, Function<List<TokenRow>, List<float[]>> score) {
    Integer[] byLength = new Integer[rows.size()];
    Arrays.setAll(byLength, i -> i);
    Arrays.sort(byLength, Comparator.comparingInt(i -> rows.get(i).length()));
    float[][] found = new float[rows.size()][];
    for (int from = 0; from < byLength.length; from += batchSize) {
      int to = Math.min(byLength.length, from + batchSize);
      List<TokenRow> batch = new ArrayList<>();
      for (int i = from; i < to; i++) {
        batch.add(rows.get(byLength[i]));
      }
      List<float[]> ofBatch = score.apply(batch);
      for (int i = from; i < to; i++) {
        requireFinite(ofBatch.get(i - from));
        found[byLength[i]] = ofBatch.get(i - from);
      }
      finished.accept(to - from);
    }
    return List.of(found);
  }

  private static void requireFinite(float[] numbers) {
    for (float number : numbers) {
      if (!Float.isFinite(number)) {
        throw RlhfException.nonFinite(
            "the model computes " + number + " for a row; its weights or the dtype are unusable");
      }
    }
  }
}
