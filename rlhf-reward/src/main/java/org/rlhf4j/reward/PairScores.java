package org.rlhf4j.reward;

import java.util.Arrays;
import java.util.DoubleSummaryStatistics;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.report.MetricNames;

/**
 * What a reward model says of pairs.
 *
 * @param chosen scores of the preferred sides, {@code [pairs]}
 * @param rejected scores of the other sides, {@code [pairs]}
 */
public record PairScores(float[] chosen, float[] rejected) {

  /** Takes apart chosen, rejected, chosen, … */
  static PairScores ofAlternating(float[] scores) {
    PairScores taken = new PairScores(new float[scores.length / 2], new float[scores.length / 2]);
    for (int i = 0; i < taken.pairs(); i++) {
      taken.chosen[i] = scores[2 * i];
      taken.rejected[i] = scores[2 * i + 1];
    }
    return taken;
  }

  /** One after the other. */
  static PairScores join(List<PairScores> parts) {
    int pairs = parts.stream().mapToInt(PairScores::pairs).sum();
    PairScores joined = new PairScores(new float[pairs], new float[pairs]);
    int at = 0;
    for (PairScores part : parts) {
      System.arraycopy(part.chosen, 0, joined.chosen, at, part.pairs());
      System.arraycopy(part.rejected, 0, joined.rejected, at, part.pairs());
      at += part.pairs();
    }
    return joined;
  }

  /** The number of pairs. */
  public int pairs() {
    return chosen.length;
  }

  /** Share of the pairs whose chosen side scores strictly higher: a tie is no success. */
  public double accuracy() {
    int right = 0;
    for (int i = 0; i < pairs(); i++) {
      right += chosen[i] > rejected[i] ? 1 : 0;
    }
    return (double) right / pairs();
  }

  /**
   * How many pairs have two equal scores. A model that gives all texts one score has only these.
   */
  public long ties() {
    long ties = 0;
    for (int i = 0; i < pairs(); i++) {
      ties += chosen[i] == rejected[i] ? 1 : 0;
    }
    return ties;
  }

  /** Mean of chosen minus rejected. */
  public double margin() {
    double sum = 0;
    for (int i = 0; i < pairs(); i++) {
      sum += (double) chosen[i] - rejected[i];
    }
    return sum / pairs();
  }

  /** The scores of both sides, {@code [2 · pairs]}. */
  public double[] both() {
    double[] both = new double[2 * pairs()];
    for (int i = 0; i < pairs(); i++) {
      both[2 * i] = chosen[i];
      both[2 * i + 1] = rejected[i];
    }
    return both;
  }

  /** The figures of a row of metrics under their names; rewards are those of both sides. */
  Map<String, Number> metrics() {
    DoubleSummaryStatistics rewards = Arrays.stream(both()).summaryStatistics();
    Map<String, Number> metrics = new LinkedHashMap<>();
    metrics.put(MetricNames.ACCURACY, accuracy());
    metrics.put(MetricNames.TIES, ties());
    metrics.put(MetricNames.MARGIN, margin());
    metrics.put(MetricNames.MIN_REWARD, rewards.getMin());
    metrics.put(MetricNames.MEAN_REWARD, rewards.getAverage());
    metrics.put(MetricNames.MAX_REWARD, rewards.getMax());
    return metrics;
  }
}
