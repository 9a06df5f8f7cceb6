package org.rlhf4j.ppo;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** What tells the group methods apart; what they have in common is in {@link GroupTraining}. */
interface GroupMethod {
  /** The verb of the command line. */
  String verb();

  /** For the banner. */
  String title();

  /** Whether the advantages look at the policy's log-probabilities. */
  boolean comparesLogProbs();

  /**
   * The advantages of a roll-out.
   *
   * @param figures of the roll-out by metric name, to be added to
   * @return {@code [responses][tokens]}
   */
  double[][] advantages(GroupRollout rollout, Map<String, Object> figures);

  /** The loss of responses that are computed side by side. */
  Share loss(Part part);

  /**
   * Responses that are computed side by side.
   *
   * @param samples the responses
   * @param logProbs of the policy now, in nats, {@code [tokens]}, response after response
   * @param oldLogProbs of the policy that sampled, likewise
   * @param part what they are computed in
   * @param batch the optimizer step that they are a part of
   */
  record Part(
      List<GroupSample> samples,
      double[] logProbs,
      double[] oldLogProbs,
      GroupLossType.Part part,
      GroupLossType.Batch batch) {
    /** {@code [responses]}. */
    int[] lengths() {
      return samples.stream().mapToInt(sample -> sample.ids().length).toArray();
    }

    /** {@code [tokens]}. */
    double[] advantages() {
      return flat(samples, GroupSample::advantages);
    }

    /** In nats, {@code [tokens]}; null without a reference. */
    double[] referenceLogProbs() {
      return samples.get(0).referenceLogProbs() == null
          ? null
          : flat(samples, sample -> ExperienceFile.wide(sample.referenceLogProbs()));
    }

    static double[] flat(List<GroupSample> samples, Function<GroupSample, double[]> numbers) {
      return samples.stream().map(numbers).flatMapToDouble(Arrays::stream).toArray();
    }
  }

  /**
   * A part's share of what a step finds; the shares of a step add up.
   *
   * @param loss to be minimised
   * @param derivative of the loss with respect to each log-probability, {@code [tokens]}
   * @param ratio mean of the ratios that the loss has
   * @param clippedLow share of what is clipped since its ratio is under the range
   * @param clippedHigh share of what is clipped since its ratio is over the range
   * @param figures further ones by metric name
   */
  record Share(
      double loss,
      double[] derivative,
      double ratio,
      double clippedLow,
      double clippedHigh,
      Map<String, Double> figures) {}
}
