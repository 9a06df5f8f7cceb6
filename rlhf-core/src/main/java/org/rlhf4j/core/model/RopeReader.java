package org.rlhf4j.core.model;

import java.util.Set;

/**
 * Reads rotary embeddings in both styles of configuration: {@code rope_theta} and {@code
 * rope_scaling} at the top (transformers up to 4), or {@code rope_parameters} (5).
 */
final class RopeReader {
  private RopeReader() {}

  /** The angles; every head is rotated whole. */
  static Rope read(ConfigReader top) {
    if (top.has("rope_parameters") && top.has("rope_scaling")) {
      throw new IllegalArgumentException("rope_parameters and rope_scaling are both set");
    }
    ConfigReader nested =
        top.child(top.has("rope_parameters") ? "rope_parameters" : "rope_scaling");
    nested.requireOnly("partial_rotary_factor", 1);
    if (nested.has("rope_theta")
        && top.has("rope_theta")
        && nested.requireNumber("rope_theta") != top.requireNumber("rope_theta")) {
      throw top.unsupported("rope_theta", "the value in rope_parameters");
    }
    double theta = nested.numberOr("rope_theta", top.numberOr("rope_theta", 10000));
    Rope rope = new Rope(theta, scaling(nested));
    nested.refuseOthers(Set.of());
    return rope;
  }

  private static Rope.Scaling scaling(ConfigReader reader) {
    String key = reader.has("rope_type") ? "rope_type" : "type";
    String type = reader.textOr(key, "default");
    if (!reader.textOr("type", type).equals(type)) {
      throw reader.unsupported("type", "the same as rope_type");
    }
    return switch (type) {
      case "default" -> new Rope.Unscaled();
      case "linear" -> new Rope.Linear(reader.requireNumber("factor"));
      case "llama3" ->
          new Rope.Llama3(
              reader.requireNumber("factor"),
              reader.requireNumber("low_freq_factor"),
              reader.requireNumber("high_freq_factor"),
              reader.requireInt("original_max_position_embeddings"));
      default -> throw reader.unsupported(key, "default, linear, llama3");
    };
  }
}
