package org.rlhf4j.ppo.group;

import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Flattened.Default;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.ppo.rollout.RolloutConfig;

/**
 * The keys of {@code grpo}: group relative policy optimisation. See {@link GroupConfig} for what
 * the group methods have in common.
 */
public record GrpoConfig(
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
            value = @Default(key = "beta", value = "0"))
        GroupConfig group,
    @Key(
            doc =
                "How token losses become the loss of a step: mean of the responses' means, mean over"
                    + " the tokens of each forward pass, sum over responses times max_new_tokens, or"
                    + " mean over all tokens of the step.",
            defaultValue = "dapo")
        GroupLossType lossType,
    @Key(
            doc =
                "What the distance of a reward from its group's mean is divided by: the standard"
                    + " deviation of the group, that of all rewards of the roll-out, or nothing.",
            defaultValue = "group")
        GroupScale scaleRewards)
    implements Checked {
  @Override
  public void check(Problems problems) {
    group.check(problems, training, rollout);
    group.requireComparison(problems);
    if (scaleRewards != GroupScale.BATCH) {
      group.warnOfDelta(problems, rollout);
    }
  }
}
