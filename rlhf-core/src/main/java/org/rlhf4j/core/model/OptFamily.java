package org.rlhf4j.core.model;

import java.util.List;

/** OPT: learned positions from row 2 on, norms before or behind, maybe a narrower embedding. */
final class OptFamily extends ModelFamily {
  private static final TrunkNames NAMES =
      new TrunkNames(
          "model.decoder.embed_tokens",
          "model.decoder.embed_positions",
          "model.decoder.project_in",
          null,
          "model.decoder.layers.",
          new TrunkNames.Block(
              "self_attn_layer_norm",
              List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
              List.of(),
              "self_attn.out_proj",
              null,
              "final_layer_norm",
              List.of("fc1"),
              "fc2",
              null),
          "model.decoder.final_layer_norm",
          "model.decoder.project_out");

  OptFamily() {
    super("opt", "OPT", NAMES, "init_std");
  }

  @Override
  DecoderSpec read(ConfigReader reader) {
    int hiddenSize = reader.requireInt("hidden_size");
    int layers = reader.requireLayers("num_hidden_layers");
    int heads = reader.requireInt("num_attention_heads");
    int headDim = AttentionSpec.headDim(hiddenSize, heads);
    boolean bias = reader.flagOr("enable_bias", true);
    boolean before = reader.flagOr("do_layer_norm_before", true);
    boolean removed = reader.flagOr("_remove_final_layer_norm", false);
    reader.requireTrue("layer_norm_elementwise_affine");
    return new DecoderSpec(
        modelType(),
        reader.requireInt("vocab_size"),
        hiddenSize,
        layers,
        reader.intOr("max_position_embeddings", 2048),
        AttentionSpec.plain(
            heads,
            headDim,
            new AttentionSpec.Projections(AttentionSpec.Layout.APART, bias, bias, false)),
        new MlpSpec(
            reader.requireInt("ffn_dim"),
            reader.activation("activation_function", "relu"),
            MlpSpec.Gate.NONE,
            bias),
        new NormSpec(NormSpec.Kind.LAYER, 1e-5, before && !removed),
        before ? Residual.NORM_BEFORE : Residual.NORM_AFTER,
        new Positions.Learned(2),
        new EmbeddingSpec(reader.intOr("word_embed_proj_dim", hiddenSize), 1, false),
        LmHeadSpec.plain(reader.flagOr("tie_word_embeddings", true)),
        false);
  }
}
