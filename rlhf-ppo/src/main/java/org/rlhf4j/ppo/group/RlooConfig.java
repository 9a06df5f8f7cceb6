package org.rlhf4j.ppo.group;

import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Flattened.Default;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.ppo.rollout.RolloutConfig;

/**
 * The keys of {@code rloo}: REINFORCE with a leave-one-out baseline. See {@link GroupConfig} for
 * what the group methods have in common.
 */
public record RlooConfig(
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
            value = @Default(key = "beta", value = "0.05"))
        GroupConfig group,
    @Key(
            doc = "Gives the advantages of a roll-out mean 0 and standard deviation 1.",
            defaultValue = "false")
        boolean normalizeAdvantages)
    implements Checked {
  @Override
  public void check(Problems problems) {
    group.check(problems, training, rollout);
    group.requireComparison(problems);
    group.warnOfDelta(problems, rollout);
  }
}
