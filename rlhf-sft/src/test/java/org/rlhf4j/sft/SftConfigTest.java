package org.rlhf4j.sft;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
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

  private static List<String> warnings(Map<String, Object> keys) {
    List<String> warnings = new ArrayList<>();
    ConfigBuilder<SftConfig> builder =
        Config.of(SftConfig.class)
            .onWarning(warnings::add)
            .set("model_name_or_path", "m")
            .set("dataset_path", "d")
            .set("output_dir", "o");
    keys.forEach(builder::set);
    builder.build();
    return warnings;
  }

  @Test
  void keysWithoutEffectAreNamedWhereTheyWereSet() {
    assertEquals(List.of(), warnings(Map.of()));
    // Its default: a file with all keys, as a run writes it, has nothing to say of it.
    assertEquals(List.of(), warnings(Map.of("packing_strategy", "bfd", "eval_steps", 100)));
    assertEquals(
        List.of("packing_strategy has no effect unless packing is true"),
        warnings(Map.of("packing_strategy", "wrapped")));
    assertEquals(List.of(), warnings(Map.of("packing_strategy", "wrapped", "packing", true)));
    assertEquals(
        List.of("eval_steps has no effect unless eval_strategy is steps"),
        warnings(Map.of("eval_steps", 7)));
    assertEquals(
        List.of("eval_steps has no effect unless eval_strategy is steps"),
        warnings(Map.of("eval_steps", 7, "eval_dataset_path", "e", "eval_strategy", "epoch")));
    assertEquals(
        List.of("save_steps has no effect unless save_strategy is steps"),
        warnings(Map.of("save_steps", 7, "save_strategy", "no")));
  }
}
