package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/** GPT-2, whose projections are stored {@code [in, out]}. */
public final class Gpt2Family implements ModelFamily {

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

  @Override
  public String modelType() {
    return "gpt2";
  }

  @Override
  public String architecture(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> "GPT2LMHeadModel";
      case SEQUENCE_CLASSIFICATION -> "GPT2ForSequenceClassification";
    };
  }

  @Override
  public String embeddingName() {
    return NAMES.embedding() + ".weight";
  }

  @Override
  public boolean isDerived(String tensorName) {
    return tensorName.endsWith(".attn.bias") || tensorName.endsWith(".attn.masked_bias");
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
      int hiddenSize = reader.requireInt("n_embd");
      int layers = reader.requireLayers("n_layer");
      int heads = reader.requireInt("n_head");
      int headDim = LlamaFamily.headDim(reader, hiddenSize, heads);
      reader.requireUnset("scale_attn_by_inverse_layer_idx");
      reader.requireUnset("reorder_and_upcast_attn");
      double scale =
          reader.flagOr("scale_attn_weights", true) ? AttentionSpec.rootScale(headDim) : 1;
      DecoderSpec spec =
          new DecoderSpec(
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
              new MlpSpec(
                  reader.intOr("n_inner", 4 * hiddenSize),
                  reader.activation("activation_function", "gelu_new"),
                  MlpSpec.Gate.NONE,
                  true),
              new NormSpec(NormSpec.Kind.LAYER, reader.epsilonOr("layer_norm_epsilon", 1e-5), true),
              Residual.NORM_BEFORE,
              new Positions.Learned(0),
              new EmbeddingSpec(hiddenSize, 1, false),
              LmHeadSpec.plain(reader.flagOr("tie_word_embeddings", true)),
              true);
      reader.refuseOthers(HARMLESS);
      return spec;
    } catch (IllegalArgumentException e) {
      throw RlhfException.input(file + ": " + e.getMessage(), e);
    }
  }
}
