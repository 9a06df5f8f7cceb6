package org.rlhf4j.reward;

import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Flattened.Default;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.TrainingConfig;

/** The keys of {@code reward}: a pairwise reward model. */
public record RewardConfig(
    @Flattened({
          @Default(key = "learning_rate", value = "5e-6"),
          @Default(key = "lr_scheduler_type", value = "linear"),
          @Default(key = "max_length", value = "512"),
          @Default(key = "overlong", value = "drop"),
          @Default(key = "append_eos", value = "false")
        })
        TrainingConfig training,
    @Key(
            heading = "Loss",
            doc = "Weight of the mean of (chosen + rejected)^2, which centres scores; 0: off.",
            defaultValue = "0",
            atLeast = 0)
        double centerRewardsCoefficient,
    @Key(
            doc = "Subtracts a row's margin from its score difference, where the row has one.",
            defaultValue = "true")
        boolean useMargin) {}
