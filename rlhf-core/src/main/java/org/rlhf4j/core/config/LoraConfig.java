package org.rlhf4j.core.config;

import java.util.List;

/** The keys of low-rank adapters, which every trainer has. */
public record LoraConfig(
    @Key(
            doc = "Trains adapters (LoRA) beside the model, whose own weights stay as they are.",
            defaultValue = "false",
            aliases = {"use_lora"})
        boolean usePeft,
    @Key(
            doc = "Rank of the adapters.",
            defaultValue = "16",
            atLeast = 1,
            aliases = {"lora_rank"})
        int loraR,
    @Key(doc = "Scale of the adapters: lora_alpha / lora_r.", defaultValue = "32", above = 0)
        int loraAlpha,
    @Key(
            doc = "Share of the adapters' inputs that is dropped in training.",
            defaultValue = "0",
            atLeast = 0,
            below = 1)
        double loraDropout,
    @Key(
            doc =
                "Modules with adapters: names such as q_proj, or all-linear for all but the head.",
            defaultValue = LoraConfig.ALL_LINEAR)
        List<String> loraTargetModules,
    @Key(
            doc = "Scales by lora_alpha / sqrt(lora_r) (rsLoRA), which suits high ranks.",
            defaultValue = "false")
        boolean useRslora,
    @Key(
            doc = "Modules trained and saved whole beside the adapters; a reward head always is.",
            defaultValue = Key.NONE)
        List<String> modulesToSave)
    implements Checked {
  /** All linear modules but the head. */
  static final String ALL_LINEAR = "all-linear";

  private static final LoraConfig DEFAULTS =
      new LoraConfig(false, 16, 32, 0, List.of(ALL_LINEAR), false, List.of());

  @Override
  public void check(Problems problems) {
    if (!usePeft && !equals(DEFAULTS)) {
      problems.warn(
          "lora_r, lora_alpha, lora_dropout, lora_target_modules, use_rslora and modules_to_save"
              + " have no effect unless use_peft is true");
    }
    problems.require(
        !loraTargetModules.isEmpty(),
        "lora_target_modules: found none, allowed: all-linear, names");
    problems.require(
        loraTargetModules.size() <= 1 || !loraTargetModules.contains(ALL_LINEAR),
        "lora_target_modules: all-linear stands alone, found "
            + String.join(",", loraTargetModules));
  }
}
