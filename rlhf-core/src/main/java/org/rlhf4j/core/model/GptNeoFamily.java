package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.List;

/** GPT-Neo: every second layer local, scores that are not scaled. */
final class GptNeoFamily extends ModelFamily {
  private static final TrunkNames NAMES =
      new TrunkNames(
          "transformer.wte",
          "transformer.wpe",
          null,
          null,
          "transformer.h.",
          new TrunkNames.Block(
              "ln_1",
              List.of("attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"),
              List.of(),
              "attn.attention.out_proj",
              null,
              "ln_2",
              List.of("mlp.c_fc"),
              "mlp.c_proj",
              null),
          "transformer.ln_f",
          null);

  GptNeoFamily() {
    super("gpt_neo", "GPTNeo", NAMES);
  }

  @Override
  public boolean isDerived(String tensorName) {
    return isMask(tensorName, "attn.attention");
  }

  @Override
  DecoderSpec read(ConfigReader reader) {
    int hiddenSize = reader.requireInt("hidden_size");
    int layers = reader.requireLayers("num_layers");
    int heads = reader.requireInt("num_heads");
    int headDim = AttentionSpec.headDim(hiddenSize, heads);
    return new DecoderSpec(
        modelType(),
        reader.requireInt("vocab_size"),
        hiddenSize,
        layers,
        reader.intOr("max_position_embeddings", 2048),
        new AttentionSpec(
            heads,
            heads,
            headDim,
            1,
            new AttentionSpec.Projections(AttentionSpec.Layout.APART, false, true, false),
            0,
            reach(reader, layers)),
        MlpSpec.plain(
            reader.intOr("intermediate_size", 4 * hiddenSize),
            reader.activation("activation_function", "gelu_new")),
        new NormSpec(NormSpec.Kind.LAYER, reader.epsilonOr("layer_norm_epsilon", 1e-5), true),
        Residual.NORM_BEFORE,
        new Positions.Learned(0),
        EmbeddingSpec.plain(hiddenSize),
        LmHeadSpec.plain(reader.flagOr("tie_word_embeddings", true)),
        false);
  }

  /** {@code attention_layers} names them; {@code attention_types} is the same, packed. */
  private static AttentionSpec.Reach reach(ConfigReader reader, int layers) {
    List<String> kinds = reader.texts("attention_layers");
    List<String> packed = reader.repeatedTexts("attention_types");
    if (kinds.isEmpty() && packed.isEmpty()) {
      // Hugging Face's default, whatever the number of layers.
      for (int pair = 0; pair < 12; pair++) {
        kinds.addAll(List.of("global", "local"));
      }
    } else if (kinds.isEmpty()) {
      kinds = packed;
    } else if (!packed.isEmpty() && !packed.equals(kinds)) {
      throw reader.unsupported("attention_types", "the same as attention_layers");
    }
    List<Boolean> local = new ArrayList<>();
    for (String kind : kinds) {
      if (!kind.equals("global") && !kind.equals("local")) {
        throw reader.unsupported("attention_layers", "global and local");
      }
      local.add(kind.equals("local"));
    }
    if (local.size() != layers) {
      String key = reader.has("attention_layers") ? "attention_layers" : "attention_types";
      throw reader.unsupported(key, "a kind for each of num_layers = " + layers);
    }
    return new AttentionSpec.Reach(reader.intOr("window_size", 256), local);
  }
}
