package org.rlhf4j.reward;

/**
 * The loss of a pairwise reward model, with its derivative by hand:
 *
 * <pre>mean over pairs of  -log sigmoid(c - r - margin)  +  coefficient · (c + r)²</pre>
 *
 * <p>c and r are the scores of the chosen and the rejected side. The first part is the model of
 * Bradley and Terry (1952) as in Ouyang et al. (2022), eq. 1, with the margin of Touvron et al.
 * (2023), eq. 2. Only score differences enter it; the second part (Eisenstein et al., 2023) keeps
 * the scores of both sides around zero.
 */
public final class RewardLoss {
  private RewardLoss() {}

  /** {@code -log sigmoid(chosen - rejected - margin)} in nats, for differences of any size. */
  public static double bradleyTerry(double chosen, double rejected, double margin) {
    return softplus(margin - (chosen - rejected));
  }

  /** The derivative of {@link #bradleyTerry} by the chosen score; by the rejected, its negative. */
  public static double bradleyTerrySlope(double chosen, double rejected, double margin) {
    return -sigmoid(margin - (chosen - rejected));
  }

  /** {@code (chosen + rejected)²}. */
  public static double centering(double chosen, double rejected) {
    double sum = chosen + rejected;
    return sum * sum;
  }

  /** The derivative of {@link #centering} by either score. */
  public static double centeringSlope(double chosen, double rejected) {
    return 2 * (chosen + rejected);
  }

  /**
   * The loss as a step takes it, a mean over all pairs of the step: with gradient accumulation
   * every pair counts the same, whatever micro-batch it falls into.
   *
   * @param centerCoefficient weight of the centring part; 0 leaves it out
   */
  public static PairLoss meanOverPairs(double centerCoefficient) {
    return (chosen, rejected, margins, stepPairs) -> {
      float[] ofChosen = new float[chosen.length];
      float[] ofRejected = new float[chosen.length];
      double sum = 0;
      for (int i = 0; i < chosen.length; i++) {
        sum += bradleyTerry(chosen[i], rejected[i], margins[i]);
        sum += centerCoefficient * centering(chosen[i], rejected[i]);
        double apart = bradleyTerrySlope(chosen[i], rejected[i], margins[i]);
        double centre = centerCoefficient * centeringSlope(chosen[i], rejected[i]);
        ofChosen[i] = (float) ((centre + apart) / stepPairs);
        ofRejected[i] = (float) ((centre - apart) / stepPairs);
      }
      return new PairLoss.Result(sum / stepPairs, ofChosen, ofRejected);
    };
  }

  /** log(1 + e^x) without overflow. StrictMath, so that every machine finds the same bits. */
  private static double softplus(double x) {
    return Math.max(x, 0) + StrictMath.log1p(StrictMath.exp(-Math.abs(x)));
  }

  /** 1 / (1 + e^-x) without overflow. */
  private static double sigmoid(double x) {
    double small = StrictMath.exp(-Math.abs(x));
    return (x >= 0 ? 1 : small) / (1 + small);
  }
}
