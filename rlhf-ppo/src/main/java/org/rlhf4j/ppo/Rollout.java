package org.rlhf4j.ppo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.generate.Diversity;
import org.rlhf4j.core.generate.FinishReason;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.Sample;
import org.rlhf4j.ppo.rollout.Seconds;
import org.rlhf4j.ppo.rollout.Spread;

/**
 * One response to each of some prompts, with what the networks and the reward say about it. All
 * lists and arrays are in the order of the prompts.
 *
 * @param prompts {@code [samples]}
 * @param responses {@code [samples]}
 * @param scores {@code [samples]}
 * @param tokenScores {@code [samples][tokens]}; null where the reward is of whole responses
 * @param logProbs of the policy in nats, {@code [samples][tokens]}
 * @param referenceLogProbs in nats, {@code [samples][tokens]}
 * @param values {@code [samples][tokens]}
 * @param seconds that it took
 */
record Rollout(
    List<PromptRow> prompts,
    List<Response> responses,
    double[] scores,
    double[][] tokenScores,
    float[][] logProbs,
    float[][] referenceLogProbs,
    float[][] values,
    Seconds seconds) {

  int size() {
    return prompts.size();
  }

  /** Tokens of prompt and response. */
  int length(int place) {
    return prompts.get(place).ids().length + responses.get(place).tokenIds().length;
  }

  /** Whether a response ended by itself, not by the limit. */
  boolean isComplete(int place) {
    return responses.get(place).finishReason() != FinishReason.LENGTH;
  }

  double meanScore() {
    return Arrays.stream(scores).average().orElseThrow();
  }

  /** Of each response its log-probability minus the reference's, in nats: KL by k1. */
  double[] kls() {
    double[] kls = new double[size()];
    for (int i = 0; i < kls.length; i++) {
      for (int t = 0; t < logProbs[i].length; t++) {
        kls[i] += (double) logProbs[i][t] - referenceLogProbs[i][t];
      }
    }
    return kls;
  }

  double meanKl() {
    return Arrays.stream(kls()).average().orElseThrow();
  }

  /** Figures of the responses by metric name. */
  Map<String, Object> figures() {
    double clipped = 0;
    double ends = 0;
    double entropy = 0;
    for (int i = 0; i < size(); i++) {
      clipped += isComplete(i) ? 0 : 1;
      ends += responses.get(i).finishReason() == FinishReason.EOS ? 1 : 0;
      for (float logProb : logProbs[i]) {
        entropy -= logProb;
      }
    }
    Spread spread = Spread.of(scores);
    Map<String, Object> figures = new LinkedHashMap<>();
    figures.put(MetricNames.OBJECTIVE_SCORES, meanScore());
    figures.put(MetricNames.OBJECTIVE_SCORES_STD, Math.sqrt(spread.biasedVariance()));
    figures.put(MetricNames.OBJECTIVE_KL, meanKl());
    figures.put(MetricNames.OBJECTIVE_ENTROPY, entropy / size());
    figures.put(MetricNames.NUM_EOS_TOKENS, ends);
    figures.put(
        MetricNames.COMPLETIONS_MEAN_LENGTH,
        responses.stream().mapToInt(one -> one.tokenIds().length).average().orElseThrow());
    figures.put(MetricNames.COMPLETIONS_CLIPPED_RATIO, clipped / size());
    figures.put(
        MetricNames.DISTINCT_2,
        Diversity.distinct2(responses.stream().map(Response::tokenIds).toList()));
    return figures;
  }

  /** The first few responses, for people. */
  List<Sample> samples(int most) {
    double[] kls = kls();
    List<Sample> samples = new ArrayList<>();
    for (int i = 0; i < Math.min(most, size()); i++) {
      Response response = responses.get(i);
      samples.add(
          new Sample(
              prompts.get(i).index(),
              prompts.get(i).text(),
              response.text(),
              scores[i],
              kls[i],
              response.tokenIds().length));
    }
    return samples;
  }
}
