package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/**
 * Llama 1 to 3 (and the many models that share its {@code model_type}), with both styles of
 * configuration: {@code rope_theta} and {@code rope_scaling} at the top (transformers up to 4), or
 * {@code rope_parameters} (5).
 */
public final class LlamaFamily implements ModelFamily {

  private static final Set<String> HARMLESS =
      CommonKeys.harmlessAnd("is_llama_config", "transformers.js_config");

  /** Keys of this family that would change the computation unless they are false or null. */
  private static final List<String> UNSET = List.of("rope_interleaved", "sliding_window");

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

  @Override
  public String modelType() {
    return "llama";
  }

  @Override
  public String architecture(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> "LlamaForCausalLM";
      case SEQUENCE_CLASSIFICATION -> "LlamaForSequenceClassification";
    };
  }

  @Override
  public String embeddingName() {
    return NAMES.embedding() + ".weight";
  }

  @Override
  public DecoderSpec read(JsonNode config, Path file) {
    ConfigReader reader = new ConfigReader(config, file, "");
    requireSupported(reader);
    int hiddenSize = reader.requireInt("hidden_size");
    int heads = reader.requireInt("num_attention_heads");
    try {
      int headDim = headDim(reader, hiddenSize, heads);
      boolean attentionBias = reader.flagOr("attention_bias", false);
      DecoderSpec spec =
          new DecoderSpec(
              modelType(),
              reader.requireInt("vocab_size"),
              hiddenSize,
              reader.requireLayers("num_hidden_layers"),
              reader.intOr("max_position_embeddings", 2048),
              new AttentionSpec(
                  heads,
                  reader.intOr("num_key_value_heads", heads),
                  headDim,
                  AttentionSpec.rootScale(headDim),
                  new AttentionSpec.Projections(
                      AttentionSpec.Layout.APART, attentionBias, attentionBias, false),
                  0,
                  AttentionSpec.Reach.FULL),
              new MlpSpec(
                  reader.requireInt("intermediate_size"),
                  reader.activation("hidden_act", "silu"),
                  MlpSpec.Gate.APART,
                  reader.flagOr("mlp_bias", false)),
              new NormSpec(NormSpec.Kind.RMS, reader.epsilonOr("rms_norm_eps", 1e-6), true),
              Residual.NORM_BEFORE,
              RopeReader.whole(reader, headDim),
              new EmbeddingSpec(hiddenSize, 1, false),
              LmHeadSpec.plain(reader.flagOr("tie_word_embeddings", false)),
              false);
      reader.refuseOthers(HARMLESS);
      return spec;
    } catch (IllegalArgumentException e) {
      throw RlhfException.input(file + ": " + e.getMessage(), e);
    }
  }

  @Override
  public List<ParameterSpec> parameters(DecoderSpec spec) {
    return NAMES.parameters(spec);
  }

  private static void requireSupported(ConfigReader reader) {
    reader.requireOnly("pretraining_tp", 1);
    CommonKeys.requireSupported(reader);
    UNSET.forEach(reader::requireUnset);
  }

  static int headDim(ConfigReader reader, int hiddenSize, int heads) {
    if (reader.has("head_dim")) {
      return reader.requireInt("head_dim");
    }
    if (heads <= 0 || hiddenSize % heads != 0) {
      throw new IllegalArgumentException(
          "hidden_size must be a multiple of num_attention_heads where head_dim is not set, got "
              + hiddenSize
              + " and "
              + heads);
    }
    return hiddenSize / heads;
  }
}
