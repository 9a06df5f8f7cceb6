package org.rlhf4j.ppo.group;

import java.util.Arrays;
import org.rlhf4j.ppo.ClipRange;
import org.rlhf4j.ppo.PpoLoss;
import org.rlhf4j.ppo.rollout.Lengths;

/**
 * The loss of RLOO (Ahmadian et al. 2024) as in TRL: a response is one action, whose
 * log-probability is the sum of its tokens'.
 */
public final class RlooLoss {
  private RlooLoss() {}

  /**
   * Loss of a part of a batch. Loss, derivative, mean and share are divided by the normalizer, so
   * those of a batch's parts add up.
   *
   * @param loss to be minimised
   * @param derivative of the loss with respect to each log-probability, {@code [tokens]}
   * @param ratios of whole responses
   * @param clippedLow responses of negative advantage whose ratio is under the range
   * @param clippedHigh responses of positive advantage whose ratio is over the range
   */
  public record Loss(
      double loss, double[] derivative, PpoLoss.Ratios ratios, int clippedLow, int clippedHigh) {}

  /**
   * The reward that RLOO compares: {@code score - β Σ (logProb - referenceLogProb)}.
   *
   * @param score after clipping and penalties
   * @param coefficient β
   * @param kl Σ over the response's tokens, in nats
   */
  public static double reward(double score, double coefficient, double kl) {
    return score - coefficient * kl;
  }

  /**
   * {@code Σ max(-A ρ, -A clip(ρ, 1 - low, 1 + high)) / normalizer} over responses, with {@code ρ =
   * exp(Σ logProb - Σ oldLogProb)}.
   *
   * @param logProbs {@code [tokens]}, response after response
   * @param oldLogProbs {@code [tokens]}
   * @param lengths of the responses, in tokens, {@code [responses]}
   * @param advantages {@code [responses]}
   * @param normalizer as a rule the number of responses of the whole batch
   * @throws IllegalArgumentException if the lengths do not fit or the normalizer is not above 0
   */
  public static Loss of(
      double[] logProbs,
      double[] oldLogProbs,
      int[] lengths,
      double[] advantages,
      double normalizer,
      ClipRange clip) {
    Lengths.require("old log-probabilities", oldLogProbs.length, logProbs.length);
    Lengths.require("tokens", Arrays.stream(lengths).sum(), logProbs.length);
    Lengths.require("advantages", advantages.length, lengths.length);
    double[] logRatios = new double[lengths.length];
    int token = 0;
    for (int response = 0; response < lengths.length; response++) {
      for (int end = token + lengths[response]; token < end; token++) {
        logRatios[response] += logProbs[token] - oldLogProbs[token];
      }
    }
    boolean[] all = new boolean[lengths.length];
    Arrays.fill(all, true);
    PpoLoss.Policy loss =
        PpoLoss.policy(logRatios, new double[lengths.length], advantages, all, normalizer, clip);
    double[] derivative = new double[logProbs.length];
    int clippedLow = 0;
    int clippedHigh = 0;
    int start = 0;
    for (int response = 0; response < lengths.length; response++) {
      int end = start + lengths[response];
      Arrays.fill(derivative, start, end, loss.derivative()[response]);
      start = end;
      boolean isClipped = clip.term(logRatios[response], advantages[response]).isClipped();
      clippedLow += isClipped && advantages[response] < 0 ? 1 : 0;
      clippedHigh += isClipped && advantages[response] > 0 ? 1 : 0;
    }
    return new Loss(loss.loss(), derivative, loss.ratios(), clippedLow, clippedHigh);
  }
}
