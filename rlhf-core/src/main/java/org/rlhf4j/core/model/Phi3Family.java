package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/** Phi 3: Llama with fused projections. */
public final class Phi3Family implements ModelFamily {

  private static final Set<String> HARMLESS =
      CommonKeys.harmlessAnd("original_max_position_embeddings");

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

  @Override
  public String modelType() {
    return "phi3";
  }

  @Override
  public String architecture(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> "Phi3ForCausalLM";
      case SEQUENCE_CLASSIFICATION -> "Phi3ForSequenceClassification";
    };
  }

  @Override
  public String embeddingName() {
    return NAMES.embedding() + ".weight";
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
      int layers = reader.requireLayers("num_hidden_layers");
      int heads = reader.requireInt("num_attention_heads");
      int headDim = LlamaFamily.headDim(reader, hiddenSize, heads);
      reader.requireUnset("attention_bias");
      int window = reader.intOr("sliding_window", 0);
      AttentionSpec.Reach reach =
          window == 0
              ? AttentionSpec.Reach.FULL
              : new AttentionSpec.Reach(window, Collections.nCopies(layers, true));
      DecoderSpec spec =
          new DecoderSpec(
              modelType(),
              reader.requireInt("vocab_size"),
              hiddenSize,
              layers,
              reader.intOr("max_position_embeddings", 4096),
              new AttentionSpec(
                  heads,
                  reader.intOr("num_key_value_heads", heads),
                  headDim,
                  AttentionSpec.rootScale(headDim),
                  new AttentionSpec.Projections(AttentionSpec.Layout.STACKED, false, false, false),
                  0,
                  reach),
              new MlpSpec(
                  reader.requireInt("intermediate_size"),
                  reader.activation("hidden_act", "silu"),
                  MlpSpec.Gate.STACKED,
                  false),
              new NormSpec(NormSpec.Kind.RMS, reader.epsilonOr("rms_norm_eps", 1e-5), true),
              Residual.NORM_BEFORE,
              RopeReader.partial(reader, headDim, "partial_rotary_factor", 1, "rope_theta"),
              new EmbeddingSpec(hiddenSize, 1, false),
              LmHeadSpec.plain(reader.flagOr("tie_word_embeddings", false)),
              false);
      reader.refuseOthers(HARMLESS);
      return spec;
    } catch (IllegalArgumentException e) {
      throw RlhfException.input(file + ": " + e.getMessage(), e);
    }
  }
}
