package org.rlhf4j.ppo;

import org.rlhf4j.ppo.rollout.Lengths;

/**
 * The clipped losses of PPO (Schulman et al. 2017) with their derivatives. All arrays are {@code
 * [tokens]}, flat over the responses of a mini-batch; tokens outside the mask count nowhere, and
 * their derivative is 0.
 *
 * <p>Every loss, derivative and share is divided by a normalizer that the caller gives, as a rule
 * the number of tokens of the whole mini-batch. So what the parts of a split mini-batch give adds
 * up to what the whole gives.
 */
public final class PpoLoss {
  private PpoLoss() {}

  /**
   * The policy's part.
   *
   * @param loss to be minimised
   * @param derivative of the loss with respect to each log-probability, {@code [tokens]}
   * @param ratios what the ratios were
   */
  public record Policy(double loss, double[] derivative, Ratios ratios) {}

  /**
   * Ratios ρ of new to old probability. The first three are sums over tokens, divided by the
   * normalizer.
   *
   * @param mean of ρ
   * @param clippedShare share of tokens whose clipped loss is strictly the larger one
   * @param approxKl of {@code (ρ - 1) - log ρ}: an unbiased, never negative estimate of KL(old ‖
   *     new)
   * @param lowest the smallest ρ; infinite without tokens
   * @param highest the largest ρ; 0 without tokens
   */
  public record Ratios(
      double mean, double clippedShare, double approxKl, double lowest, double highest) {}

  /**
   * The value network's part.
   *
   * @param loss to be minimised, before any coefficient
   * @param derivative of the loss with respect to each value, {@code [tokens]}
   * @param clippedShare share of tokens whose clipped loss is strictly the larger one
   */
  public record Value(double loss, double[] derivative, double clippedShare) {}

  /**
   * {@code Σ max(-A ρ, -A clip(ρ, 1 - low, 1 + high)) / normalizer} with {@code ρ = exp(logProb -
   * oldLogProb)}, bounded by the dual clip where one is set.
   *
   * @throws IllegalArgumentException if the lengths differ or the normalizer is not above 0
   */
  public static Policy policy(
      double[] logProbs,
      double[] oldLogProbs,
      double[] advantages,
      boolean[] mask,
      double normalizer,
      ClipRange clip) {
    Lengths.require("old log-probabilities", oldLogProbs.length, logProbs.length);
    Lengths.require("advantages", advantages.length, logProbs.length);
    checkMask(mask, logProbs.length, normalizer);
    double[] derivative = new double[logProbs.length];
    double loss = 0;
    double ratios = 0;
    double approxKl = 0;
    int clipped = 0;
    double lowest = Double.POSITIVE_INFINITY;
    double highest = 0;
    for (int t = 0; t < logProbs.length; t++) {
      if (mask[t]) {
        double logRatio = logProbs[t] - oldLogProbs[t];
        ClipRange.Term term = clip.term(logRatio, advantages[t]);
        loss += term.loss();
        derivative[t] = term.derivative() / normalizer;
        ratios += term.ratio();
        approxKl += Math.expm1(logRatio) - logRatio;
        clipped += term.isClipped() ? 1 : 0;
        lowest = Math.min(lowest, term.ratio());
        highest = Math.max(highest, term.ratio());
      }
    }
    return new Policy(
        loss / normalizer,
        derivative,
        new Ratios(
            ratios / normalizer, clipped / normalizer, approxKl / normalizer, lowest, highest));
  }

  /**
   * {@code ½ Σ max((V - R)², (clip(V, V_old - ε, V_old + ε) - R)²) / normalizer}.
   *
   * @param oldValues V_old, those of the roll-out
   * @param returns R
   * @param clipRange ε; infinite: no clipping
   * @throws IllegalArgumentException if the lengths differ, the normalizer is not above 0 or the
   *     clip range is negative
   */
  public static Value value(
      double[] values,
      double[] oldValues,
      double[] returns,
      boolean[] mask,
      double normalizer,
      double clipRange) {
    Lengths.require("old values", oldValues.length, values.length);
    Lengths.require("returns", returns.length, values.length);
    checkMask(mask, values.length, normalizer);
    if (!(clipRange >= 0)) {
      throw new IllegalArgumentException("clip range " + clipRange + " must not be negative");
    }
    double[] derivative = new double[values.length];
    double loss = 0;
    int clipped = 0;
    for (int t = 0; t < values.length; t++) {
      if (mask[t]) {
        double near =
            Math.max(oldValues[t] - clipRange, Math.min(oldValues[t] + clipRange, values[t]));
        double free = values[t] - returns[t];
        double held = near - returns[t];
        if (held * held > free * free) {
          // The clipped value does not move with the value.
          loss += held * held;
          clipped++;
        } else {
          loss += free * free;
          derivative[t] = free / normalizer;
        }
      }
    }
    return new Value(0.5 * loss / normalizer, derivative, clipped / normalizer);
  }

  private static void checkMask(boolean[] mask, int tokens, double normalizer) {
    Lengths.require("mask entries", mask.length, tokens);
    if (!(normalizer > 0)) {
      throw new IllegalArgumentException("normalizer " + normalizer + " must be above 0");
    }
  }
}
