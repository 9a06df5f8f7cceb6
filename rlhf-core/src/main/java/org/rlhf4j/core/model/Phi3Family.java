package org.rlhf4j.core.model;

import java.util.List;

/** Phi 3: Llama with fused projections. */
final class Phi3Family extends ModelFamily {
  private static final TrunkNames NAMES =
      TrunkNames.plain(
          "model.embed_tokens",
          "model.layers.",
          new TrunkNames.Block(
              "input_layernorm",
              List.of("self_attn.qkv_proj"),
              List.of(),
              "self_attn.o_proj",
              null,
              "post_attention_layernorm",
              List.of("mlp.gate_up_proj"),
              "mlp.down_proj",
              null),
          "model.norm");

  Phi3Family() {
    super("phi3", "Phi3", NAMES, "original_max_position_embeddings");
  }

  @Override
  DecoderSpec read(ConfigReader reader) {
    reader.requireUnset("attention_bias");
    int headDim = LlamaKeys.headDim(reader);
    var projections =
        new AttentionSpec.Projections(AttentionSpec.Layout.STACKED, false, false, false);
    return LlamaKeys.decoder(
        reader,
        modelType(),
        new LlamaKeys.Own(
            4096,
            LlamaKeys.attention(
                reader,
                LlamaKeys.keyValueHeads(reader, 0),
                headDim,
                projections,
                LlamaKeys.everywhere(reader, reader.intOr("sliding_window", 0))),
            LlamaKeys.mlp(reader, MlpSpec.Gate.STACKED, false),
            1e-5,
            RopeReader.partial(reader, headDim, "partial_rotary_factor", 1, "rope_theta")));
  }
}
