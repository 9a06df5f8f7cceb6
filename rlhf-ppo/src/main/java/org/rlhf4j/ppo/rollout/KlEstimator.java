package org.rlhf4j.ppo.rollout;

/**
 * What one sampled token says about KL(policy ‖ reference), after Schulman, "Approximating KL
 * divergence" (2020). With {@code d = log p(token) - log q(token)} and tokens drawn from the policy
 * p, the mean over many tokens goes to the divergence.
 */
public enum KlEstimator {
  /** {@code d}: unbiased, of either sign. */
  K1 {
    @Override
    double of(double logRatio) {
      return logRatio;
    }
  },
  /** {@code d² / 2}: biased, never negative. */
  K2 {
    @Override
    double of(double logRatio) {
      return 0.5 * logRatio * logRatio;
    }
  },
  /** {@code exp(-d) - 1 + d}: unbiased and never negative. */
  K3 {
    @Override
    double of(double logRatio) {
      return Math.expm1(-logRatio) + logRatio;
    }
  };

  abstract double of(double logRatio);

  /** The estimate at one token, in nats. */
  public final double of(double logProb, double referenceLogProb) {
    return of(logProb - referenceLogProb);
  }

  /**
   * The estimates at the tokens of a response; their sum is the estimate for the response.
   *
   * @param logProbs the policy's, {@code [tokens]}
   * @param referenceLogProbs {@code [tokens]}
   * @return {@code [tokens]}, in nats
   * @throws IllegalArgumentException if the lengths differ
   */
  public final double[] of(double[] logProbs, double[] referenceLogProbs) {
    Lengths.require("reference log-probabilities", referenceLogProbs.length, logProbs.length);
    double[] estimates = new double[logProbs.length];
    for (int t = 0; t < logProbs.length; t++) {
      estimates[t] = of(logProbs[t], referenceLogProbs[t]);
    }
    return estimates;
  }
}
