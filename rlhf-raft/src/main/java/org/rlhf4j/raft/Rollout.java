package org.rlhf4j.raft;

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
import org.rlhf4j.core.train.RewardFunction.Completion;

/**
 * Responses to some prompts with their rewards. A prompt's responses stand side by side, in the
 * order in which they were drawn.
 *
 * @param prompts {@code [prompts]}
 * @param responses {@code [prompts][samples]}
 * @param rewards {@code [prompts * samples]}
 * @param kls of each response its log-probability under the policy minus that under the start
 *     model, in nats at temperature 1, {@code [prompts * samples]}: on the policy's own samples an
 *     estimate (k1) of the KL divergence per response
 */
record Rollout(
    List<PromptRow> prompts, List<List<Response>> responses, double[] rewards, double[] kls) {

  /** Each response with its prompt, as a reward function takes it. */
  static List<Completion> completions(List<PromptRow> prompts, List<List<Response>> responses) {
    List<Completion> completions = new ArrayList<>();
    for (int p = 0; p < prompts.size(); p++) {
      PromptRow prompt = prompts.get(p);
      List<Response> ofPrompt = responses.get(p);
      for (int number = 0; number < ofPrompt.size(); number++) {
        Response response = ofPrompt.get(number);
        completions.add(
            new Completion(
                prompt.index(),
                number,
                prompt.text(),
                response.text(),
                prompt.ids(),
                response.tokenIds()));
      }
    }
    return completions;
  }

  /** A response behind its prompt, as it was sampled; the response's tokens are the targets. */
  static TokenRow row(Completion completion) {
    int[] prompt = completion.promptIds();
    int[] ids = Arrays.copyOf(prompt, prompt.length + completion.ids().length);
    System.arraycopy(completion.ids(), 0, ids, prompt.length, completion.ids().length);
    return TokenRow.targetsFrom(ids, prompt.length);
  }

  List<Completion> completions() {
    return completions(prompts, responses);
  }

  List<RaftSelection.Candidate> candidates() {
    List<Completion> completions = completions();
    List<RaftSelection.Candidate> candidates = new ArrayList<>();
    for (int i = 0; i < completions.size(); i++) {
      Completion completion = completions.get(i);
      candidates.add(
          new RaftSelection.Candidate(
              completion.index(), completion.sample(), completion.text(), rewards[i]));
    }
    return candidates;
  }

  double meanReward() {
    return Arrays.stream(rewards).average().orElseThrow();
  }

  /** Figures of the responses by metric name. */
  Map<String, Object> figures() {
    List<Response> all = responses.stream().flatMap(List::stream).toList();
    double clipped = all.stream().filter(one -> one.finishReason() == FinishReason.LENGTH).count();
    Map<String, Object> figures = new LinkedHashMap<>();
    figures.put(MetricNames.REWARD_ALL_MEAN, meanReward());
    figures.put(MetricNames.REWARD_BEST_OF_K, bestOfK());
    figures.put(MetricNames.KL_TO_START, Arrays.stream(kls).average().orElseThrow());
    figures.put(
        MetricNames.DISTINCT_2, Diversity.distinct2(all.stream().map(Response::tokenIds).toList()));
    figures.put(
        MetricNames.COMPLETIONS_MEAN_LENGTH,
        all.stream().mapToInt(one -> one.tokenIds().length).average().orElseThrow());
    figures.put(MetricNames.COMPLETIONS_CLIPPED_RATIO, clipped / all.size());
    return figures;
  }

  /** Mean over the prompts of the best reward of each. */
  private double bestOfK() {
    double sum = 0;
    int from = 0;
    for (List<Response> ofPrompt : responses) {
      int to = from + ofPrompt.size();
      sum += Arrays.stream(rewards, from, to).max().orElseThrow();
      from = to;
    }
    return sum / responses.size();
  }

  /** The first response to each of the first few prompts, for people. */
  List<Sample> samples(int most) {
    List<Sample> samples = new ArrayList<>();
    int place = 0;
    for (int p = 0; p < Math.min(most, prompts.size()); p++) {
      Response first = responses.get(p).get(0);
      samples.add(
          new Sample(
              prompts.get(p).index(),
              prompts.get(p).text(),
              first.text(),
              rewards[place],
              kls[place],
              first.tokenIds().length));
      place += responses.get(p).size();
    }
    return samples;
  }
}
