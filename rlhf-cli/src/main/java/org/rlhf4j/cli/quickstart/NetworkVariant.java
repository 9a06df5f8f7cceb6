package org.rlhf4j.cli.quickstart;

import java.util.Locale;
import java.util.Map;

/** Ways to set up PPO's networks. The first is what the others differ from. */
enum NetworkVariant {
  HYDRA("hydra: 2 layers trained, value head", Map.of()),
  APART("the same 2 layers, full reference", Map.of("share_trunk", false)),
  FULL("all layers trained, full reference", Map.of("num_layers_unfrozen", -1)),
  // A branch of as many layers as the policy trains would read the trunk on either side, so that
  // both were the same network.
  POLICY_BRANCH(
      "value branch of 1 layer on the policy",
      Map.of("value_network", "policy_head", "num_value_layers_unfrozen", 1)),
  REFERENCE_BRANCH(
      "value branch of 1 layer on the reference",
      Map.of("value_network", "reference_branch", "num_value_layers_unfrozen", 1)),
  NOT_CACHED("trunk not cached", Map.of("cache_trunk", false));

  private final String said;
  private final Map<String, Object> keys;

  NetworkVariant(String said, Map<String, Object> keys) {
    this.said = said;
    this.keys = keys;
  }

  /** What it is called in a table. */
  String said() {
    return said;
  }

  /** The quick start's PPO with these networks. */
  StageCommand of(StageCommand ppo) {
    return ppo.with(keys);
  }

  /** What it is called in files. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
