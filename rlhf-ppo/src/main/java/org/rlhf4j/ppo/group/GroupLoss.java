package org.rlhf4j.ppo.group;

import org.rlhf4j.ppo.ClipRange;
import org.rlhf4j.ppo.rollout.KlEstimator;
import org.rlhf4j.ppo.rollout.Lengths;

/**
 * The clipped loss of GRPO and REINFORCE++ with its derivative. All arrays are {@code [tokens]},
 * response after response.
 */
public final class GroupLoss {
  private GroupLoss() {}

  /**
   * Settings.
   *
   * @param clip of the ratio of each token
   * @param klCoefficient β of the KL to the reference in the loss; 0: no such term
   * @param logRatioBound the logarithm of a ratio is held within ±bound; infinite: as it is
   */
  public record Settings(ClipRange clip, double klCoefficient, double logRatioBound) {
    /** GRPO's (Shao et al. 2024, equation 3): the KL in the loss, ratios as they are. */
    public static Settings grpo(ClipRange clip, double klCoefficient) {
      return new Settings(clip, klCoefficient, Double.POSITIVE_INFINITY);
    }

    /** REINFORCE++'s as in OpenRLHF: the KL in the reward, logarithms of ratios within ±20. */
    public static Settings reinforcePlusPlus(ClipRange clip) {
      return new Settings(clip, 0, 20);
    }
  }

  /**
   * Loss of a part of a batch.
   *
   * @param loss to be minimised
   * @param derivative of the loss with respect to each log-probability, {@code [tokens]}
   * @param tokens what was seen at the tokens
   */
  public record Loss(double loss, double[] derivative, Tokens tokens) {}

  /**
   * Sums over tokens, unweighted.
   *
   * @param clippedLow tokens of negative advantage whose ratio is under the range
   * @param clippedHigh tokens of positive advantage whose ratio is over the range
   * @param referenceKl sum of the k3 estimates of KL(policy ‖ reference), in nats; 0 without a
   *     reference
   * @param ratios sum of ρ
   */
  public record Tokens(int clippedLow, int clippedHigh, double referenceKl, double ratios) {}

  /**
   * {@code Σ w (max(-A ρ, -A clip(ρ, 1 - low, 1 + high)) + β (exp(d) - d - 1))} with {@code ρ =
   * exp(logProb - oldLogProb)} and {@code d = referenceLogProb - logProb}.
   *
   * @param referenceLogProbs null: none; β must then be 0
   * @param advantages of each token
   * @param weights w of each token: {@link GroupLossType#weights}; 0 leaves a token out
   * @throws IllegalArgumentException if the lengths differ, or β asks for a reference that is not
   *     given
   */
  public static Loss of(
      double[] logProbs,
      double[] oldLogProbs,
      double[] referenceLogProbs,
      double[] advantages,
      double[] weights,
      Settings settings) {
    Lengths.require("old log-probabilities", oldLogProbs.length, logProbs.length);
    Lengths.require("advantages", advantages.length, logProbs.length);
    Lengths.require("weights", weights.length, logProbs.length);
    if (referenceLogProbs != null) {
      Lengths.require("reference log-probabilities", referenceLogProbs.length, logProbs.length);
    } else if (settings.klCoefficient != 0) {
      throw new IllegalArgumentException("a KL coefficient without a reference");
    }
    double[] derivative = new double[logProbs.length];
    double loss = 0;
    double referenceKl = 0;
    int clippedLow = 0;
    int clippedHigh = 0;
    double ratios = 0;
    for (int t = 0; t < logProbs.length; t++) {
      if (weights[t] != 0) {
        double exact = logProbs[t] - oldLogProbs[t];
        double bound = settings.logRatioBound;
        double logRatio = Math.max(-bound, Math.min(bound, exact));
        ClipRange.Term term = settings.clip.term(logRatio, advantages[t]);
        double tokenLoss = term.loss();
        double slope = logRatio == exact ? term.derivative() : 0;
        if (referenceLogProbs != null) {
          double kl = KlEstimator.K3.of(logProbs[t], referenceLogProbs[t]);
          referenceKl += kl;
          tokenLoss += settings.klCoefficient * kl;
          // The derivative of exp(d) - d - 1 where d falls as the log-probability rises.
          slope -= settings.klCoefficient * Math.expm1(referenceLogProbs[t] - logProbs[t]);
        }
        loss += weights[t] * tokenLoss;
        derivative[t] = weights[t] * slope;
        clippedLow += term.isClipped() && advantages[t] < 0 ? 1 : 0;
        clippedHigh += term.isClipped() && advantages[t] > 0 ? 1 : 0;
        ratios += term.ratio();
      }
    }
    Tokens tokens = new Tokens(clippedLow, clippedHigh, referenceKl, ratios);
    return new Loss(loss, derivative, tokens);
  }
}
