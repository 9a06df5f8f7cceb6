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
 *
 * <p>Parts of a step are computed side by side, so {@link #loss} is called by several threads at
 * once: it must be a function of its argument alone.
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
   * @param rollout with log-probabilities where {@link #comparesLogProbs}, and the reference's
   *     where beta is above 0
   * @param figures of the roll-out by metric name, to be added to
   * @return {@code [responses][tokens]}, group after group
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
   * A part's share of what a step finds. The shares of a step are added up, so each mean is a sum
   * over the part, divided by the tokens or responses of the whole {@link Part#batch() step}.
   *
   * @param loss to be minimised
   * @param derivative of the loss with respect to each log-probability, {@code [tokens]}
   * @param ratio share of the mean of the ratios that the loss has; together they are 1 where the
   *     policy is the one that sampled, which is checked in the first step on a roll-out
   * @param clippedLow share of what is clipped since its ratio is under the range
   * @param clippedHigh share of what is clipped since its ratio is over the range
   * @param figures further ones by metric name, likewise
   */
  record Share(
      double loss,
      double[] derivative,
      double ratio,
      double clippedLow,
      double clippedHigh,
      Map<String, Double> figures) {}
}
