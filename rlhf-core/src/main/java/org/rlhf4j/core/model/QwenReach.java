package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.List;

/** How far the tokens of the Qwen families see. */
final class QwenReach {
  private QwenReach() {}

  /**
   * Reads {@code use_sliding_window}, {@code sliding_window}, and which layers are local: {@code
   * layer_types}, or all from {@code max_window_layers} on.
   */
  static AttentionSpec.Reach read(ConfigReader reader) {
    boolean windowed = reader.flagOr("use_sliding_window", false);
    int window = reader.isNull("sliding_window") ? 0 : reader.intOr("sliding_window", 4096);
    int firstLocal = reader.intOr("max_window_layers", 28);
    List<Boolean> local = new ArrayList<>(localLayers(reader));
    if (!windowed || window == 0) {
      if (local.contains(true)) {
        throw reader.unsupported("layer_types", "full_attention without use_sliding_window");
      }
      return AttentionSpec.Reach.FULL;
    }
    if (local.isEmpty()) {
      for (int layer = 0; layer < LlamaKeys.layers(reader); layer++) {
        local.add(layer >= firstLocal);
      }
    }
    return new AttentionSpec.Reach(window, local);
  }

  /** For each layer whether it is local by {@code layer_types}; empty where that is absent. */
  static List<Boolean> localLayers(ConfigReader reader) {
    List<Boolean> local = new ArrayList<>();
    for (String kind : reader.texts("layer_types")) {
      switch (kind) {
        case "full_attention" -> local.add(false);
        case "sliding_attention" -> local.add(true);
        default -> throw reader.unsupported("layer_types", "full_attention and sliding_attention");
      }
    }
    int layers = LlamaKeys.layers(reader);
    if (!local.isEmpty() && local.size() != layers) {
      throw reader.unsupported("layer_types", "a kind for each of num_hidden_layers = " + layers);
    }
    return local;
  }
}
