package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/** GPT-J: one norm a block for attention and MLP side by side, a head with a bias. */
public final class GptJFamily implements ModelFamily {

  private static final Set<String> HARMLESS =
      CommonKeys.harmlessAnd(
          "n_ctx",
          "summary_activation",
          "summary_first_dropout",
          "summary_proj_to_labels",
          "summary_type",
          "summary_use_proj");

  private static final TrunkNames NAMES =
      TrunkNames.plain(
          "transformer.wte",
          "transformer.h.",
          new TrunkNames.Block(
              "ln_1",
              List.of("attn.q_proj", "attn.k_proj", "attn.v_proj"),
              List.of(),
              "attn.out_proj",
              null,
              null,
              List.of("mlp.fc_in"),
              "mlp.fc_out",
              null),
          "transformer.ln_f");

  @Override
  public String modelType() {
    return "gptj";
  }

  @Override
  public String architecture(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> "GPTJForCausalLM";
      case SEQUENCE_CLASSIFICATION -> "GPTJForSequenceClassification";
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
      reader.requireUnset("tie_word_embeddings");
      reader.requireUnset("rotary");
      DecoderSpec spec =
          new DecoderSpec(
              modelType(),
              reader.requireInt("vocab_size"),
              hiddenSize,
              layers,
              reader.intOr("n_positions", 2048),
              new AttentionSpec(
                  heads,
                  heads,
                  headDim,
                  AttentionSpec.rootScale(headDim),
                  new AttentionSpec.Projections(AttentionSpec.Layout.APART, false, false, false),
                  0,
                  AttentionSpec.Reach.FULL),
              new MlpSpec(
                  reader.intOr("n_inner", 4 * hiddenSize),
                  reader.activation("activation_function", "gelu_new"),
                  MlpSpec.Gate.NONE,
                  true),
              new NormSpec(NormSpec.Kind.LAYER, reader.epsilonOr("layer_norm_epsilon", 1e-5), true),
              Residual.PARALLEL_ONE_NORM,
              new Positions.Rotary(
                  new Rope(10000, new Rope.Unscaled()), reader.intOr("rotary_dim", 64), true),
              new EmbeddingSpec(hiddenSize, 1, false),
              new LmHeadSpec(false, true, 0),
              false);
      reader.refuseOthers(HARMLESS);
      return spec;
    } catch (IllegalArgumentException e) {
      throw RlhfException.input(file + ": " + e.getMessage(), e);
    }
  }
}
