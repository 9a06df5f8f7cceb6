package org.rlhf4j.sft;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.data.Packing;

class SftConfigTest {
  private static Packing packing(boolean packing, String strategy) {
    return Config.of(SftConfig.class)
        .set("model_name_or_path", "m")
        .set("dataset_path", "d")
        .set("output_dir", "o")
        .set("packing", packing)
        .set("packing_strategy", strategy)
        .build()
        .effectivePacking();
  }

  @Test
  void theStrategyCountsOnlyWhenPacking() {
    assertEquals(Packing.NONE, packing(false, "wrapped"));
    assertEquals(Packing.BFD, packing(true, "bfd"));
    assertEquals(Packing.WRAPPED, packing(true, "wrapped"));
    assertEquals(Packing.GROUP_TEXTS, packing(true, "group_texts"));
  }
}
