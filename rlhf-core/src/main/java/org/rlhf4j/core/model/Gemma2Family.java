package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.List;

/** Gemma 2: four norms a block, every second layer local, capped scores and logits. */
final class Gemma2Family extends ModelFamily {
  private static final TrunkNames NAMES =
      TrunkNames.plain(
          "model.embed_tokens",
          "model.layers.",
          new TrunkNames.Block(
              "input_layernorm",
              List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
              List.of(),
              "self_attn.o_proj",
              "post_attention_layernorm",
              "pre_feedforward_layernorm",
              List.of("mlp.gate_proj", "mlp.up_proj"),
              "mlp.down_proj",
              "post_feedforward_layernorm"),
          "model.norm");

  Gemma2Family() {
    super("gemma2", "Gemma2", NAMES, "cache_implementation");
  }

  @Override
  DecoderSpec read(ConfigReader reader) {
    int hiddenSize = reader.requireInt("hidden_size");
    int layers = LlamaKeys.layers(reader);
    int heads = reader.requireInt("num_attention_heads");
    int headDim = reader.intOr("head_dim", 256);
    boolean bias = reader.flagOr("attention_bias", false);
    reader.requireUnset("use_bidirectional_attention");
    return new DecoderSpec(
        modelType(),
        reader.requireInt("vocab_size"),
        hiddenSize,
        layers,
        reader.intOr("max_position_embeddings", 8192),
        new AttentionSpec(
            heads,
            LlamaKeys.keyValueHeads(reader, 4),
            headDim,
            1 / Math.sqrt(reader.numberOr("query_pre_attn_scalar", 256)),
            new AttentionSpec.Projections(AttentionSpec.Layout.APART, bias, bias, false),
            cap(reader, "attn_logit_softcapping", 50),
            reach(reader, layers)),
        new MlpSpec(
            reader.requireInt("intermediate_size"), activation(reader), MlpSpec.Gate.APART, false),
        new NormSpec(NormSpec.Kind.RMS_PLUS_ONE, reader.epsilonOr("rms_norm_eps", 1e-6), true),
        Residual.NORM_AROUND,
        RopeReader.whole(reader, headDim),
        new EmbeddingSpec(hiddenSize, Math.sqrt(hiddenSize), false),
        new LmHeadSpec(
            reader.flagOr("tie_word_embeddings", true),
            false,
            cap(reader, "final_logit_softcapping", 30)),
        false);
  }

  /** Older files name it hidden_act too; hidden_activation is what counts. */
  private static MlpSpec.Activation activation(ConfigReader reader) {
    reader.has("hidden_act");
    return reader.activation("hidden_activation", "gelu_pytorch_tanh");
  }

  private static double cap(ConfigReader reader, String key, double fallback) {
    double cap = reader.isNull(key) ? 0 : reader.numberOr(key, fallback);
    if (cap < 0) {
      throw new IllegalArgumentException(key + " must be positive or null, got " + cap);
    }
    return cap;
  }

  private static AttentionSpec.Reach reach(ConfigReader reader, int layers) {
    List<Boolean> local = new ArrayList<>(QwenReach.localLayers(reader));
    if (local.isEmpty()) {
      for (int layer = 0; layer < layers; layer++) {
        local.add(layer % 2 == 0);
      }
    }
    if (reader.isNull("sliding_window") && local.contains(true)) {
      throw reader.unsupported("sliding_window", "a number");
    }
    return new AttentionSpec.Reach(reader.intOr("sliding_window", 4096), local);
  }
}
