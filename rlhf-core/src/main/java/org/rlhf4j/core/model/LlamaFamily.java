package org.rlhf4j.core.model;

import java.util.List;

/**
 * Llama 1 to 3 (and the many models that share its {@code model_type}), with both styles of
 * configuration: {@code rope_theta} and {@code rope_scaling} at the top (transformers up to 4), or
 * {@code rope_parameters} (5).
 */
final class LlamaFamily extends ModelFamily {
  /** The names of this family and those that took over its layout. */
  static final TrunkNames NAMES =
      TrunkNames.plain(
          "model.embed_tokens",
          "model.layers.",
          new TrunkNames.Block(
              "input_layernorm",
              List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
              List.of("self_attn.q_norm", "self_attn.k_norm"),
              "self_attn.o_proj",
              null,
              "post_attention_layernorm",
              List.of("mlp.gate_proj", "mlp.up_proj"),
              "mlp.down_proj",
              null),
          "model.norm");

  LlamaFamily() {
    super("llama", "Llama", NAMES, "is_llama_config");
  }

  @Override
  DecoderSpec read(ConfigReader reader) {
    reader.requireOnly("pretraining_tp", 1);
    reader.requireUnset("rope_interleaved");
    reader.requireUnset("sliding_window");
    int headDim = LlamaKeys.headDim(reader);
    boolean bias = reader.flagOr("attention_bias", false);
    var projections = new AttentionSpec.Projections(AttentionSpec.Layout.APART, bias, bias, false);
    return LlamaKeys.decoder(
        reader,
        modelType(),
        new LlamaKeys.Own(
            2048,
            LlamaKeys.attention(
                reader,
                LlamaKeys.keyValueHeads(reader, 0),
                headDim,
                projections,
                AttentionSpec.Reach.FULL),
            LlamaKeys.mlp(reader, MlpSpec.Gate.APART, reader.flagOr("mlp_bias", false)),
            1e-6,
            RopeReader.whole(reader, headDim)));
  }
}
