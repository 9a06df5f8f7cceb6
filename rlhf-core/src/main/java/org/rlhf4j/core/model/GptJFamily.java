package org.rlhf4j.core.model;

import java.util.List;

/** GPT-J: one norm a block for attention and MLP side by side, a head with a bias. */
final class GptJFamily extends ModelFamily {
  private static final TrunkNames NAMES =
      TrunkNames.plain(
          "transformer.wte",
          "transformer.h.",
          new TrunkNames.Block(
              "ln_1",
              List.of("attn.q_proj", "attn.k_proj", "attn.v_proj"),
              List.of(),
              "attn.out_proj",
              null,
              null,
              List.of("mlp.fc_in"),
              "mlp.fc_out",
              null),
          "transformer.ln_f");

  GptJFamily() {
    super("gptj", "GPTJ", NAMES);
  }

  @Override
  public boolean isDerived(String tensorName) {
    return isMask(tensorName, "attn");
  }

  @Override
  DecoderSpec read(ConfigReader reader) {
    int hiddenSize = reader.requireInt("n_embd");
    int layers = reader.requireLayers("n_layer");
    int heads = reader.requireInt("n_head");
    int headDim = AttentionSpec.headDim(hiddenSize, heads);
    reader.requireUnset("tie_word_embeddings");
    // The original's configuration has both, though the class knows no other way.
    reader.requireTrue("rotary");
    reader.requireTrue("scale_attn_weights");
    if (reader.isNull("rotary_dim")) {
      throw reader.unsupported("rotary_dim", "a number");
    }
    return new DecoderSpec(
        modelType(),
        reader.requireInt("vocab_size"),
        hiddenSize,
        layers,
        reader.intOr("n_positions", 2048),
        AttentionSpec.plain(heads, headDim, AttentionSpec.Projections.PLAIN),
        MlpSpec.plain(
            reader.intOr("n_inner", 4 * hiddenSize),
            reader.activation("activation_function", "gelu_new")),
        new NormSpec(NormSpec.Kind.LAYER, reader.epsilonOr("layer_norm_epsilon", 1e-5), true),
        Residual.PARALLEL_ONE_NORM,
        new Positions.Rotary(
            new Rope(10000, new Rope.Unscaled()), reader.intOr("rotary_dim", 64), true),
        EmbeddingSpec.plain(hiddenSize),
        new LmHeadSpec(false, true, 0),
        false);
  }
}
