package org.rlhf4j.core.model;

import java.util.List;

/** BLOOM: no positions but slopes on the scores (ALiBi), a norm behind the embedding. */
final class BloomFamily extends ModelFamily {
  private static final TrunkNames NAMES =
      new TrunkNames(
          "transformer.word_embeddings",
          null,
          null,
          "transformer.word_embeddings_layernorm",
          "transformer.h.",
          new TrunkNames.Block(
              "input_layernorm",
              List.of("self_attention.query_key_value"),
              List.of(),
              "self_attention.dense",
              null,
              "post_attention_layernorm",
              List.of("mlp.dense_h_to_4h"),
              "mlp.dense_4h_to_h",
              null),
          "transformer.ln_f",
          null);

  BloomFamily() {
    super(
        "bloom",
        "Bloom",
        NAMES,
        "attention_softmax_in_fp32",
        "bias_dropout_fusion",
        "masked_softmax_fusion",
        "offset_alibi",
        "pretraining_tp",
        "skip_bias_add",
        "skip_bias_add_qkv",
        "slow_but_exact");
  }

  @Override
  DecoderSpec read(ConfigReader reader) {
    int hiddenSize = oneOf(reader, "hidden_size", "n_embed");
    int layers = oneOf(reader, "n_layer", "num_hidden_layers");
    int heads = oneOf(reader, "n_head", "num_attention_heads");
    int headDim = AttentionSpec.headDim(hiddenSize, heads);
    reader.requireOnly("n_inner", 4 * hiddenSize);
    reader.requireUnset("apply_residual_connection_post_layernorm");
    return new DecoderSpec(
        modelType(),
        reader.requireInt("vocab_size"),
        hiddenSize,
        layers,
        reader.intOr("seq_length", 2048),
        AttentionSpec.plain(
            heads,
            headDim,
            new AttentionSpec.Projections(AttentionSpec.Layout.PER_HEAD, true, true, false)),
        MlpSpec.plain(4 * hiddenSize, MlpSpec.Activation.GELU_TANH),
        new NormSpec(NormSpec.Kind.LAYER, reader.epsilonOr("layer_norm_epsilon", 1e-5), true),
        Residual.NORM_BEFORE,
        new Positions.Alibi(),
        new EmbeddingSpec(hiddenSize, 1, true),
        LmHeadSpec.plain(reader.flagOr("tie_word_embeddings", true)),
        false);
  }

  /** A number that newer files name so and older ones otherwise. */
  private static int oneOf(ConfigReader reader, String key, String older) {
    if (!reader.has(key)) {
      return reader.has(older) ? reader.requireInt(older) : reader.requireInt(key);
    }
    int value = reader.requireInt(key);
    if (reader.intOr(older, value) != value) {
      throw reader.unsupported(older, "the same as " + key);
    }
    return value;
  }
}
