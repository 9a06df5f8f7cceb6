package org.rlhf4j.ppo.group;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.rlhf4j.ppo.rollout.Floats;

/**
 * What tells the group methods apart; what they have in common is in {@link GroupTrainer}. A method
 * of one's own has two parts: the advantages of a roll-out, and a loss with its derivative with
 * respect to the log-probabilities, both on plain arrays.
 */
public interface GroupMethod {
  /** For provenance and model card; the verb, where the command line has one. */
  String name();

  /** For the banner. */
  String title();

  /**
   * Whether the advantages look at the policy's log-probabilities, which are else measured only
   * where more than one step is made on a roll-out.
   */
  boolean comparesLogProbs();

  /**
   * The advantages of a roll-out.
   *
   * @param figures of the roll-out by metric name, to be added to
   * @return {@code [responses][tokens]}
   */
  double[][] advantages(GroupRollout rollout, Map<String, Object> figures);

  /**
   * The loss of responses that are computed side by side. What they are divided by is a matter of
   * the whole step, so that the shares of its parts add up to the same loss however it is cut.
   */
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
    public int[] lengths() {
      return samples.stream().mapToInt(sample -> sample.ids().length).toArray();
    }

    /** {@code [tokens]}. */
    public double[] advantages() {
      return flat(samples, GroupSample::advantages);
    }

    /** In nats, {@code [tokens]}; null without a reference. */
    public double[] referenceLogProbs() {
      return samples.get(0).referenceLogProbs() == null
          ? null
          : flat(samples, sample -> Floats.wide(sample.referenceLogProbs()));
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
