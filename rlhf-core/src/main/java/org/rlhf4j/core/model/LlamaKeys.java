package org.rlhf4j.core.model;

import java.util.Collections;

/** The keys that other families took over from Llama. */
final class LlamaKeys {
  private LlamaKeys() {}

  /**
   * What a family has of its own.
   *
   * @param maxPositions where {@code max_position_embeddings} is not set
   * @param attention of every block
   * @param mlp of every block
   * @param epsilon where {@code rms_norm_eps} is not set
   * @param positions how order is known
   */
  record Own(
      int maxPositions,
      AttentionSpec attention,
      MlpSpec mlp,
      double epsilon,
      Positions positions) {}

  /** A decoder with a norm before each half of a block. */
  static DecoderSpec decoder(ConfigReader reader, String modelType, Own own) {
    int hiddenSize = reader.requireInt("hidden_size");
    return new DecoderSpec(
        modelType,
        reader.requireInt("vocab_size"),
        hiddenSize,
        layers(reader),
        reader.intOr("max_position_embeddings", own.maxPositions()),
        own.attention(),
        own.mlp(),
        new NormSpec(NormSpec.Kind.RMS, reader.epsilonOr("rms_norm_eps", own.epsilon()), true),
        Residual.NORM_BEFORE,
        own.positions(),
        EmbeddingSpec.plain(hiddenSize),
        LmHeadSpec.plain(reader.flagOr("tie_word_embeddings", false)),
        false);
  }

  static int layers(ConfigReader reader) {
    return reader.requireLayers("num_hidden_layers");
  }

  /** The width of a head, which need not be the residual stream's share. */
  static int headDim(ConfigReader reader) {
    return reader.has("head_dim")
        ? reader.requireInt("head_dim")
        : AttentionSpec.headDim(
            reader.requireInt("hidden_size"), reader.requireInt("num_attention_heads"));
  }

  /**
   * The number of key and value heads; null stands for as many as there are heads.
   *
   * @param fallback where the key is absent, 0 for as many as there are heads
   */
  static int keyValueHeads(ConfigReader reader, int fallback) {
    int heads = reader.requireInt("num_attention_heads");
    return fallback == 0 || reader.isNull("num_key_value_heads")
        ? reader.intOr("num_key_value_heads", heads)
        : reader.intOr("num_key_value_heads", fallback);
  }

  /** Attention with the usual scale. */
  static AttentionSpec attention(
      ConfigReader reader,
      int keyValueHeads,
      int headDim,
      AttentionSpec.Projections projections,
      AttentionSpec.Reach reach) {
    return new AttentionSpec(
        reader.requireInt("num_attention_heads"),
        keyValueHeads,
        headDim,
        AttentionSpec.rootScale(headDim),
        projections,
        0,
        reach);
  }

  /** One window for every layer, 0 for none. */
  static AttentionSpec.Reach everywhere(ConfigReader reader, int window) {
    return window == 0
        ? AttentionSpec.Reach.FULL
        : new AttentionSpec.Reach(window, Collections.nCopies(layers(reader), true));
  }

  /** An MLP with a gate. */
  static MlpSpec mlp(ConfigReader reader, MlpSpec.Gate gate, boolean bias) {
    return new MlpSpec(
        reader.requireInt("intermediate_size"),
        reader.activation("hidden_act", "silu"),
        gate,
        bias);
  }
}
