package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/** BLOOM: no positions but slopes on the scores (ALiBi), a norm behind the embedding. */
public final class BloomFamily implements ModelFamily {

  private static final Set<String> HARMLESS =
      CommonKeys.harmlessAnd(
          "attention_softmax_in_fp32",
          "bias_dropout_fusion",
          "masked_softmax_fusion",
          "offset_alibi",
          "pretraining_tp",
          "skip_bias_add",
          "skip_bias_add_qkv",
          "slow_but_exact");

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

  @Override
  public String modelType() {
    return "bloom";
  }

  @Override
  public String architecture(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> "BloomForCausalLM";
      case SEQUENCE_CLASSIFICATION -> "BloomForSequenceClassification";
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
      int hiddenSize = oneOf(reader, "hidden_size", "n_embed");
      int layers = oneOf(reader, "n_layer", "num_hidden_layers");
      int heads = oneOf(reader, "n_head", "num_attention_heads");
      int headDim = LlamaFamily.headDim(reader, hiddenSize, heads);
      reader.requireUnset("apply_residual_connection_post_layernorm");
      DecoderSpec spec =
          new DecoderSpec(
              modelType(),
              reader.requireInt("vocab_size"),
              hiddenSize,
              layers,
              reader.intOr("seq_length", 2048),
              new AttentionSpec(
                  heads,
                  heads,
                  headDim,
                  AttentionSpec.rootScale(headDim),
                  new AttentionSpec.Projections(AttentionSpec.Layout.PER_HEAD, true, true, false),
                  0,
                  AttentionSpec.Reach.FULL),
              new MlpSpec(
                  reader.intOr("n_inner", 4 * hiddenSize),
                  MlpSpec.Activation.GELU_TANH,
                  MlpSpec.Gate.NONE,
                  true),
              new NormSpec(NormSpec.Kind.LAYER, reader.epsilonOr("layer_norm_epsilon", 1e-5), true),
              Residual.NORM_BEFORE,
              new Positions.Alibi(),
              new EmbeddingSpec(hiddenSize, 1, true),
              LmHeadSpec.plain(reader.flagOr("tie_word_embeddings", true)),
              false);
      reader.refuseOthers(HARMLESS);
      return spec;
    } catch (IllegalArgumentException e) {
      throw RlhfException.input(file + ": " + e.getMessage(), e);
    }
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
