package org.rlhf4j.sft;

import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Flattened.Default;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.PackingStrategy;
import org.rlhf4j.core.config.Problems;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.Packing;

/** The keys of {@code sft}. Which tokens are targets follows from the form of the rows. */
public record SftConfig(
    @Flattened({
          @Default(key = "learning_rate", value = "2e-5"),
          @Default(key = "lr_scheduler_type", value = "cosine"),
          @Default(key = "max_length", value = "1024"),
          @Default(key = "overlong", value = "truncate"),
          @Default(key = "append_eos", value = "true")
        })
        TrainingConfig training,
    @Key(
            heading = "Packing",
            doc = "Lets several short rows share one row of the batch.",
            defaultValue = "false")
        boolean packing,
    @Key(doc = "How rows are packed, if packing.", defaultValue = "bfd")
        PackingStrategy packingStrategy)
    implements Checked {
  @Override
  public void check(Problems problems) {
    if (!packing) {
      problems.warnUnused("unless packing is true", "packing_strategy");
    }
  }

  /** What packing and packing_strategy ask for together. */
  public Packing effectivePacking() {
    if (!packing) {
      return Packing.NONE;
    }
    return switch (packingStrategy) {
      case BFD -> Packing.BFD;
      case WRAPPED -> Packing.WRAPPED;
      case GROUP_TEXTS -> Packing.GROUP_TEXTS;
    };
  }
}
