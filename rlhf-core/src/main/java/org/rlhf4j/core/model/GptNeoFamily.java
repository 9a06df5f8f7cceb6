package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/** GPT-Neo: every second layer local, scores that are not scaled. */
public final class GptNeoFamily implements ModelFamily {

  private static final Set<String> HARMLESS =
      CommonKeys.harmlessAnd(
          "n_ctx",
          "summary_activation",
          "summary_first_dropout",
          "summary_proj_to_labels",
          "summary_type",
          "summary_use_proj");

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

  @Override
  public String modelType() {
    return "gpt_neo";
  }

  @Override
  public String architecture(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> "GPTNeoForCausalLM";
      case SEQUENCE_CLASSIFICATION -> "GPTNeoForSequenceClassification";
    };
  }

  @Override
  public String embeddingName() {
    return NAMES.embedding() + ".weight";
  }

  @Override
  public boolean isDerived(String tensorName) {
    return tensorName.endsWith(".attn.attention.bias")
        || tensorName.endsWith(".attn.attention.masked_bias");
  }

  @Override
  public List<ParameterSpec> parameters(DecoderSpec spec) {
    return NAMES.parameters(spec);
  }

  @Override
  public DecoderSpec read(JsonNode config, Path file) {
    ConfigReader reader = new ConfigReader(config, file, "");
    CommonKeys.requireSupported(reader);
    try {
      int hiddenSize = reader.requireInt("hidden_size");
      int layers = reader.requireLayers("num_layers");
      int heads = reader.requireInt("num_heads");
      int headDim = LlamaFamily.headDim(reader, hiddenSize, heads);
      DecoderSpec spec =
          new DecoderSpec(
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
                  reach(reader)),
              new MlpSpec(
                  reader.intOr("intermediate_size", 4 * hiddenSize),
                  reader.activation("activation_function", "gelu_new"),
                  MlpSpec.Gate.NONE,
                  true),
              new NormSpec(NormSpec.Kind.LAYER, reader.epsilonOr("layer_norm_epsilon", 1e-5), true),
              Residual.NORM_BEFORE,
              new Positions.Learned(0),
              new EmbeddingSpec(hiddenSize, 1, false),
              LmHeadSpec.plain(reader.flagOr("tie_word_embeddings", true)),
              false);
      reader.refuseOthers(HARMLESS);
      return spec;
    } catch (IllegalArgumentException e) {
      throw RlhfException.input(file + ": " + e.getMessage(), e);
    }
  }

  /** {@code attention_layers} names them; {@code attention_types} is the same, packed. */
  private static AttentionSpec.Reach reach(ConfigReader reader) {
    List<String> kinds = reader.texts("attention_layers");
    List<String> packed = reader.repeatedTexts("attention_types");
    if (kinds.isEmpty()) {
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
    return new AttentionSpec.Reach(reader.intOr("window_size", 256), local);
  }
}
