package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/** Qwen 2 and 2.5: Llama with biases on queries, keys and values. */
public final class Qwen2Family implements ModelFamily {

  private static final Set<String> HARMLESS = CommonKeys.harmlessAnd("use_mrope");

  private static final TrunkNames NAMES = LlamaFamily.NAMES;

  @Override
  public String modelType() {
    return "qwen2";
  }

  @Override
  public String architecture(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> "Qwen2ForCausalLM";
      case SEQUENCE_CLASSIFICATION -> "Qwen2ForSequenceClassification";
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
      reader.requireUnset("use_mrope");
      DecoderSpec spec =
          new DecoderSpec(
              modelType(),
              reader.requireInt("vocab_size"),
              hiddenSize,
              layers,
              reader.intOr("max_position_embeddings", 32768),
              new AttentionSpec(
                  heads,
                  reader.intOr("num_key_value_heads", heads),
                  headDim,
                  AttentionSpec.rootScale(headDim),
                  new AttentionSpec.Projections(AttentionSpec.Layout.APART, true, false, false),
                  0,
                  QwenReach.read(reader, layers)),
              new MlpSpec(
                  reader.requireInt("intermediate_size"),
                  reader.activation("hidden_act", "silu"),
                  MlpSpec.Gate.APART,
                  false),
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
}
