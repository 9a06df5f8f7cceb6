package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/** GPT-NeoX and Pythia: a part of each head rotated, attention and MLP side by side or not. */
public final class GptNeoXFamily implements ModelFamily {

  private static final Set<String> HARMLESS = CommonKeys.harmlessAnd();

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

  @Override
  public String modelType() {
    return "gpt_neox";
  }

  @Override
  public String architecture(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> "GPTNeoXForCausalLM";
      case SEQUENCE_CLASSIFICATION -> "GPTNeoXForSequenceClassification";
    };
  }

  @Override
  public String embeddingName() {
    return NAMES.embedding() + ".weight";
  }

  @Override
  public String headName(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> "embed_out.weight";
      case SEQUENCE_CLASSIFICATION -> "score.weight";
    };
  }

  @Override
  public boolean isDerived(String tensorName) {
    return tensorName.endsWith(".attention.bias")
        || tensorName.endsWith(".attention.masked_bias")
        || ModelFamily.super.isDerived(tensorName);
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
      boolean bias = reader.flagOr("attention_bias", true);
      boolean parallel = reader.flagOr("use_parallel_residual", true);
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
                  AttentionSpec.rootScale(headDim),
                  new AttentionSpec.Projections(AttentionSpec.Layout.PER_HEAD, bias, bias, false),
                  0,
                  AttentionSpec.Reach.FULL),
              new MlpSpec(
                  reader.requireInt("intermediate_size"),
                  reader.activation("hidden_act", "gelu"),
                  MlpSpec.Gate.NONE,
                  true),
              new NormSpec(NormSpec.Kind.LAYER, reader.epsilonOr("layer_norm_eps", 1e-5), true),
              parallel ? Residual.PARALLEL : Residual.NORM_BEFORE,
              RopeReader.partial(reader, headDim, "rotary_pct", 0.25, "rotary_emb_base"),
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
