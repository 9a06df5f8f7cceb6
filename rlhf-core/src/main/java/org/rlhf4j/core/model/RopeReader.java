package org.rlhf4j.core.model;

import java.util.Set;

/**
 * Reads rotary embeddings in both styles of configuration: {@code rope_theta} and {@code
 * rope_scaling} at the top (transformers up to 4), or {@code rope_parameters} (5).
 */
final class RopeReader {
  private RopeReader() {}

  /** For families that rotate every head whole. */
  static Positions.Rotary whole(ConfigReader top, int headDim) {
    top.requireOnly("partial_rotary_factor", 1);
    ConfigReader nested = nested(top);
    nested.requireOnly("partial_rotary_factor", 1);
    requireEven(headDim);
    return new Positions.Rotary(rope(top, nested, "rope_theta"), headDim, false);
  }

  /**
   * For families that may rotate a part of each head.
   *
   * @param factorKey of the older style, at the top
   * @param factor where nothing is said
   * @param thetaKey of the older style, at the top
   */
  static Positions.Rotary partial(
      ConfigReader top, int headDim, String factorKey, double factor, String thetaKey) {
    ConfigReader nested = nested(top);
    requireSame(top, factorKey, nested, "partial_rotary_factor");
    double part = nested.numberOr("partial_rotary_factor", top.numberOr(factorKey, factor));
    if (!(part > 0 && part <= 1)) {
      throw new IllegalArgumentException(factorKey + " must be in (0, 1], got " + part);
    }
    return new Positions.Rotary(rope(top, nested, thetaKey), (int) (headDim * part), false);
  }

  private static void requireEven(int headDim) {
    if (headDim % 2 != 0) {
      throw new IllegalArgumentException("head_dim must be even, got " + headDim);
    }
  }

  private static ConfigReader nested(ConfigReader top) {
    if (top.has("rope_parameters") && top.has("rope_scaling")) {
      throw new IllegalArgumentException("rope_parameters and rope_scaling are both set");
    }
    return top.child(top.has("rope_parameters") ? "rope_parameters" : "rope_scaling");
  }

  private static void requireSame(ConfigReader top, String older, ConfigReader nested, String key) {
    if (nested.has(key)
        && top.has(older)
        && nested.requireNumber(key) != top.requireNumber(older)) {
      throw top.unsupported(older, "the value in rope_parameters");
    }
  }

  private static Rope rope(ConfigReader top, ConfigReader nested, String thetaKey) {
    requireSame(top, thetaKey, nested, "rope_theta");
    double theta = nested.numberOr("rope_theta", top.numberOr(thetaKey, 10000));
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
