package org.rlhf4j.core.model;

import java.util.List;

/** GPT-NeoX and Pythia: a part of each head rotated, attention and MLP side by side or not. */
final class GptNeoXFamily extends ModelFamily {
  private static final TrunkNames NAMES =
      TrunkNames.plain(
          "gpt_neox.embed_in",
          "gpt_neox.layers.",
          new TrunkNames.Block(
              "input_layernorm",
              List.of("attention.query_key_value"),
              List.of(),
              "attention.dense",
              null,
              "post_attention_layernorm",
              List.of("mlp.dense_h_to_4h"),
              "mlp.dense_4h_to_h",
              null),
          "gpt_neox.final_layer_norm");

  GptNeoXFamily() {
    super("gpt_neox", "GPTNeoX", NAMES);
  }

  @Override
  public String headName(ModelHead head) {
    return head == ModelHead.CAUSAL_LM ? "embed_out.weight" : super.headName(head);
  }

  @Override
  public boolean isDerived(String tensorName) {
    return isMask(tensorName, "attention") || super.isDerived(tensorName);
  }

  @Override
  DecoderSpec read(ConfigReader reader) {
    int hiddenSize = reader.requireInt("hidden_size");
    int layers = reader.requireLayers("num_hidden_layers");
    int heads = reader.requireInt("num_attention_heads");
    int headDim = AttentionSpec.headDim(hiddenSize, heads);
    boolean bias = reader.flagOr("attention_bias", true);
    boolean parallel = reader.flagOr("use_parallel_residual", true);
    return new DecoderSpec(
        modelType(),
        reader.requireInt("vocab_size"),
        hiddenSize,
        layers,
        reader.intOr("max_position_embeddings", 2048),
        AttentionSpec.plain(
            heads,
            headDim,
            new AttentionSpec.Projections(AttentionSpec.Layout.PER_HEAD, bias, bias, false)),
        MlpSpec.plain(
            reader.requireInt("intermediate_size"), reader.activation("hidden_act", "gelu")),
        new NormSpec(NormSpec.Kind.LAYER, reader.epsilonOr("layer_norm_eps", 1e-5), true),
        parallel ? Residual.PARALLEL : Residual.NORM_BEFORE,
        RopeReader.partial(reader, headDim, "rotary_pct", 0.25, "rotary_emb_base"),
        EmbeddingSpec.plain(hiddenSize),
        LmHeadSpec.plain(reader.flagOr("tie_word_embeddings", false)),
        false);
  }
}
