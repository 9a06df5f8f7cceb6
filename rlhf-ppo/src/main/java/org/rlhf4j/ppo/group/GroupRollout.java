package org.rlhf4j.ppo.group;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Diversity;
import org.rlhf4j.core.generate.FinishReason;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.Sample;
import org.rlhf4j.ppo.rollout.Floats;
import org.rlhf4j.ppo.rollout.KlEstimator;
import org.rlhf4j.ppo.rollout.Responses;
import org.rlhf4j.ppo.rollout.RewardShaping;
import org.rlhf4j.ppo.rollout.Seconds;

/**
 * Groups of responses to some prompts, with what the networks and the reward say about them. All
 * lists and arrays are group after group.
 *
 * @param groupSize responses of each group
 * @param prompts of the responses, {@code [responses]}
 * @param responses {@code [responses]}
 * @param scores {@code [responses]}
 * @param logProbs of the policy in nats, {@code [responses][tokens]}; null where not measured
 * @param referenceLogProbs in nats, {@code [responses][tokens]}; null without a reference
 * @param seconds that it took
 */
public record GroupRollout(
    int groupSize,
    List<PromptRow> prompts,
    List<Response> responses,
    double[] scores,
    float[][] logProbs,
    float[][] referenceLogProbs,
    Seconds seconds) {

  /** Responses. */
  public int size() {
    return responses.size();
  }

  /** The prompts with the responses as targets. */
  static List<TokenRow> rows(List<PromptRow> prompts, List<Response> responses) {
    List<TokenRow> rows = new ArrayList<>();
    for (int i = 0; i < responses.size(); i++) {
      rows.add(Responses.row(prompts.get(i).ids(), responses.get(i).tokenIds()));
    }
    return rows;
  }

  /** Whether a response ended by itself, not by the limit. */
  public boolean isComplete(int place) {
    return responses.get(place).finishReason() != FinishReason.LENGTH;
  }

  /** Tokens of a response. */
  public int length(int place) {
    return responses.get(place).tokenIds().length;
  }

  /** Tokens of prompt and response. */
  int rowLength(int place) {
    return prompts.get(place).ids().length + length(place);
  }

  /** Over all responses. */
  public double meanScore() {
    return Arrays.stream(scores).average().orElseThrow();
  }

  /** Scores after clipping and penalties, {@code [groups][groupSize]}. */
  public double[][] shaped(RewardShaping shaping) {
    double[] shaped = new double[size()];
    for (int i = 0; i < shaped.length; i++) {
      shaped[i] = shaping.score(scores[i], isComplete(i), length(i));
    }
    return grouped(shaped);
  }

  /** Numbers of the responses, {@code [groups][groupSize]}. */
  public double[][] grouped(double[] numbers) {
    double[][] groups = new double[numbers.length / groupSize][];
    for (int group = 0; group < groups.length; group++) {
      groups[group] = Arrays.copyOfRange(numbers, group * groupSize, (group + 1) * groupSize);
    }
    return groups;
  }

  /**
   * A number of each response for each of its tokens.
   *
   * @param groups {@code [groups][groupSize]}
   * @return {@code [responses][tokens]}
   */
  public double[][] ofTokens(double[][] groups) {
    double[][] tokens = new double[size()][];
    for (int i = 0; i < tokens.length; i++) {
      tokens[i] = new double[length(i)];
      Arrays.fill(tokens[i], groups[i / groupSize][i % groupSize]);
    }
    return tokens;
  }

  /**
   * Estimates of the KL to the reference, {@code [responses][tokens]}, in nats; the policy's
   * log-probabilities are those that were measured, else those that the tokens were drawn with.
   */
  public double[][] kl(KlEstimator estimator) {
    if (referenceLogProbs == null) {
      throw new IllegalStateException("there is no reference where beta is 0");
    }
    double[][] kl = new double[size()][];
    for (int i = 0; i < kl.length; i++) {
      float[] own = logProbs == null ? responses.get(i).logProbs() : logProbs[i];
      kl[i] = estimator.of(Floats.wide(own), Floats.wide(referenceLogProbs[i]));
    }
    return kl;
  }

  /** Of each response its log-probability minus the reference's, in nats: KL by k1. */
  public double[] kls() {
    return Arrays.stream(kl(KlEstimator.K1)).mapToDouble(row -> Arrays.stream(row).sum()).toArray();
  }

  /** Figures of the responses by metric name. */
  Map<String, Object> figures() {
    int[] lengths = responses.stream().mapToInt(one -> one.tokenIds().length).toArray();
    double clipped = 0;
    for (int i = 0; i < size(); i++) {
      clipped += isComplete(i) ? 0 : 1;
    }
    Map<String, Object> figures = new LinkedHashMap<>();
    figures.put(MetricNames.REWARD, meanScore());
    if (referenceLogProbs != null) {
      figures.put(MetricNames.OBJECTIVE_KL, Arrays.stream(kls()).average().orElseThrow());
    }
    figures.put(
        MetricNames.COMPLETIONS_MEAN_LENGTH, Arrays.stream(lengths).average().orElseThrow());
    figures.put(MetricNames.COMPLETIONS_MIN_LENGTH, Arrays.stream(lengths).min().orElseThrow());
    figures.put(MetricNames.COMPLETIONS_MAX_LENGTH, Arrays.stream(lengths).max().orElseThrow());
    figures.put(MetricNames.COMPLETIONS_CLIPPED_RATIO, clipped / size());
    figures.put(
        MetricNames.DISTINCT_2,
        Diversity.distinct2(responses.stream().map(Response::tokenIds).toList()));
    return figures;
  }

  /** The first few responses, for people. */
  List<Sample> samples(int most) {
    double[] kls = referenceLogProbs == null ? null : kls();
    List<Sample> samples = new ArrayList<>();
    for (int i = 0; i < Math.min(most, size()); i++) {
      samples.add(
          new Sample(
              prompts.get(i).index(),
              prompts.get(i).text(),
              responses.get(i).text(),
              scores[i],
              kls == null ? null : kls[i],
              length(i)));
    }
    return samples;
  }
}
