package org.rlhf4j.ppo;

/**
 * How far the ratio of new to old probability counts.
 *
 * @param low ε below: ratios under {@code 1 - low} do not count for a negative advantage
 * @param high ε above: ratios over {@code 1 + high} do not count for a positive advantage
 * @param dual bound c of the loss for negative advantages (Ye et al. 2020, dual-clip PPO): it is
 *     never above {@code -c A}; infinite: no bound
 */
public record ClipRange(double low, double high, double dual) {
  /** Checks. */
  public ClipRange {
    if (!(low >= 0) || !(high >= 0) || !(dual > 1)) {
      throw new IllegalArgumentException(
          "clip range %s, %s must not be negative and dual clip %s must be above 1"
              .formatted(low, high, dual));
    }
  }

  /** The same range on both sides, no dual clip. */
  public static ClipRange of(double range) {
    return new ClipRange(range, range, Double.POSITIVE_INFINITY);
  }

  /**
   * The clipped loss of one ratio (Schulman et al. 2017, equation 7, negated): {@code max(-A ρ, -A
   * clip(ρ, 1 - low, 1 + high))}, for a negative A at most {@code -c A}.
   */
  public Term term(double logRatio, double advantage) {
    double ratio = Math.exp(logRatio);
    double free = -advantage * ratio;
    double clipped = -advantage * Math.max(1 - low, Math.min(1 + high, ratio));
    double bound = advantage < 0 ? -advantage * dual : Double.POSITIVE_INFINITY;
    boolean isClipped = clipped > free;
    double derivative = isClipped || free > bound ? 0 : free;
    return new Term(Math.min(bound, Math.max(free, clipped)), derivative, ratio, isClipped);
  }

  /**
   * Loss at one ratio.
   *
   * @param loss to be minimised
   * @param derivative of the loss with respect to the log-ratio; the left or right one at an edge
   * @param ratio exp(log-ratio)
   * @param isClipped whether the clipped term is strictly the larger one
   */
  public record Term(double loss, double derivative, double ratio, boolean isClipped) {}
}
