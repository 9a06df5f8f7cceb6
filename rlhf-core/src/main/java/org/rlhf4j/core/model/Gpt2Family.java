package org.rlhf4j.core.model;

import java.util.List;

/** GPT-2, whose projections are stored {@code [in, out]}. */
final class Gpt2Family extends ModelFamily {
  private static final TrunkNames NAMES =
      new TrunkNames(
          "transformer.wte",
          "transformer.wpe",
          null,
          null,
          "transformer.h.",
          new TrunkNames.Block(
              "ln_1",
              List.of("attn.c_attn"),
              List.of(),
              "attn.c_proj",
              null,
              "ln_2",
              List.of("mlp.c_fc"),
              "mlp.c_proj",
              null),
          "transformer.ln_f",
          null);

  Gpt2Family() {
    super("gpt2", "GPT2", NAMES);
  }

  @Override
  public String architecture(ModelHead head) {
    return head == ModelHead.CAUSAL_LM ? "GPT2LMHeadModel" : super.architecture(head);
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
    reader.requireUnset("scale_attn_by_inverse_layer_idx");
    reader.requireUnset("reorder_and_upcast_attn");
    double scale = reader.flagOr("scale_attn_weights", true) ? AttentionSpec.rootScale(headDim) : 1;
    return new DecoderSpec(
        modelType(),
        reader.requireInt("vocab_size"),
        hiddenSize,
        layers,
        reader.intOr("n_positions", 1024),
        new AttentionSpec(
            heads,
            heads,
            headDim,
            scale,
            new AttentionSpec.Projections(AttentionSpec.Layout.STACKED, true, true, false),
            0,
            AttentionSpec.Reach.FULL),
        MlpSpec.plain(
            reader.intOr("n_inner", 4 * hiddenSize),
            reader.activation("activation_function", "gelu_new")),
        new NormSpec(NormSpec.Kind.LAYER, reader.epsilonOr("layer_norm_epsilon", 1e-5), true),
        Residual.NORM_BEFORE,
        new Positions.Learned(0),
        EmbeddingSpec.plain(hiddenSize),
        LmHeadSpec.plain(reader.flagOr("tie_word_embeddings", true)),
        true);
  }
}
