package org.rlhf4j.ppo.group;

import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Flattened.Default;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.ppo.rollout.KlEstimator;
import org.rlhf4j.ppo.rollout.RolloutConfig;

/**
 * The keys of {@code reinforce-pp}: REINFORCE++. See {@link GroupConfig} for what the group methods
 * have in common.
 */
public record ReinforcePlusPlusConfig(
    @Flattened(
            value = {
              @Default(key = "learning_rate", value = "3e-6"),
              @Default(key = "lr_scheduler_type", value = "constant"),
              @Default(key = "max_length", value = "512"),
              @Default(key = "overlong", value = "drop"),
              @Default(key = "append_eos", value = "false")
            })
        TrainingConfig training,
    @Flattened(heading = "Roll-outs and rewards") RolloutConfig rollout,
    @Flattened(
            heading = "Groups and what is learned from them",
            value = @Default(key = "beta", value = "0.01"))
        GroupConfig group,
    @Key(
            doc =
                "Takes the mean of its group off each score first (REINFORCE++-baseline); gamma is"
                    + " then 1. As in OpenRLHF, scores are then held within ± 10; shares that are:"
                    + " objective/scores_clipfrac.",
            defaultValue = "false")
        boolean groupBaseline,
    @Key(
            doc =
                "Estimator of the KL penalty at a token; with d the difference of log-probabilities to"
                    + " the reference k1 is d (unbiased), k2 is d²/2 (never negative, biased), k3 is"
                    + " exp(-d)-1+d (never negative, unbiased). As in OpenRLHF, it is held within ± 10"
                    + " at each token; the share that is: objective/kl_clipfrac.",
            defaultValue = "k1")
        KlEstimator klEstimator,
    @Key(doc = "Discount of later rewards.", defaultValue = "1", atLeast = 0, atMost = 1)
        double gamma)
    implements Checked {
  @Override
  public void check(Problems problems) {
    group.check(problems, training, rollout);
    if (groupBaseline) {
      group.requireComparison(problems);
      group.warnOfDelta(problems, rollout);
      problems.require(
          gamma == 1,
          "gamma " + gamma + ": group_baseline true works without a discount; allowed: 1");
    }
    if (group.beta() == 0) {
      problems.warnUnused("unless beta is above 0", "kl_estimator");
    }
  }
}
