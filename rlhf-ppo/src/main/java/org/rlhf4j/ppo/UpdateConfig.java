package org.rlhf4j.ppo;

import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;
import org.rlhf4j.ppo.rollout.KlEstimator;

/**
 * The keys of PPO's rewards, advantages and losses. {@link #adaptiveKlTarget()}, {@link
 * #dualClip()} and {@link #targetKl()} are null where none is set.
 */
public record UpdateConfig(
    @Key(
            doc = "Passes over the samples of each roll-out.",
            defaultValue = "4",
            atLeast = 1,
            aliases = {"ppo_epochs"})
        int numPpoEpochs,
    @Key(doc = "Samples of an optimizer step.", defaultValue = "32", atLeast = 1) int miniBatchSize,
    @Key(
            doc = "Weight of the KL penalty, to begin with where it is adaptive.",
            defaultValue = "0.05",
            atLeast = 0,
            aliases = {"init_kl_coef"})
        double klCoef,
    @Key(
            doc =
                "Estimator of the KL penalty at a token; with d the difference of log-probabilities to"
                    + " the reference k1 is d (unbiased), k2 is d²/2 (never negative, biased), k3 is"
                    + " exp(-d)-1+d (never negative, unbiased).",
            defaultValue = "k1")
        KlEstimator klEstimator,
    @Key(
            doc = "KL in nats per response that kl_coef is moved to hold; none: kl_coef stays.",
            defaultValue = Key.NONE,
            above = 0,
            aliases = {"target"})
        Double adaptiveKlTarget,
    @Key(
            doc = "Samples over which the adaptive kl_coef moves by its error; once per roll-out.",
            defaultValue = "10000",
            above = 0,
            aliases = {"horizon"})
        double adaptiveKlHorizon,
    @Key(
            doc =
                "What scores are divided by: their standard deviation over the run so far, that of the"
                    + " first roll-out, or nothing.",
            defaultValue = "none")
        ScoreScale scaleReward,
    @Key(
            doc = "Divides the rewards of a roll-out by their standard deviation, the mean stays.",
            defaultValue = "false")
        boolean whitenRewards,
    @Key(doc = "Discount of later rewards.", defaultValue = "1", atLeast = 0, atMost = 1)
        double gamma,
    @Key(
            doc = "Weight of longer looks ahead in the advantages (GAE's lambda).",
            defaultValue = "0.95",
            atLeast = 0,
            atMost = 1)
        double lam,
    @Key(
            doc = "Gives the advantages of a roll-out mean 0 and standard deviation 1.",
            defaultValue = "true")
        boolean whitenAdvantages,
    @Key(doc = "Ratios count within 1 ± this.", defaultValue = "0.2", above = 0) double cliprange,
    @Key(doc = "Values count within their old ones ± this.", defaultValue = "0.2", above = 0)
        double cliprangeValue,
    @Key(
            doc = "Bounds the loss of negative advantages at so many times them.",
            defaultValue = Key.NONE,
            above = 1)
        Double dualClip,
    @Key(doc = "Weight of the value loss.", defaultValue = "0.1", atLeast = 0) double vfCoef,
    @Key(doc = "Weight of the entropy bonus.", defaultValue = "0", atLeast = 0) double entropyCoef,
    @Key(
            doc =
                "Ends the epochs of a roll-out before a step whose KL to the policy that drew it,"
                    + " policy/kl_to_old_avg (mean of ratio - 1 - log ratio), is over 1.5 times"
                    + " this; none: never.",
            defaultValue = Key.NONE,
            above = 0)
        Double targetKl)
    implements Checked {
  /** The controller of a new run. */
  KlController controller(double coefficient) {
    return adaptiveKlTarget == null
        ? KlController.fixed(coefficient)
        : KlController.adaptive(coefficient, adaptiveKlTarget, adaptiveKlHorizon);
  }

  ClipRange clip() {
    return new ClipRange(
        cliprange, cliprange, dualClip == null ? Double.POSITIVE_INFINITY : dualClip);
  }

  @Override
  public void check(Problems problems) {
    if (adaptiveKlTarget == null) {
      problems.warnUnused("unless adaptive_kl_target is set", "adaptive_kl_horizon");
    }
  }
}
