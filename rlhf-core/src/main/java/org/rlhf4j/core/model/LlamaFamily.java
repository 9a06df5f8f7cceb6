package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/**
 * Llama 1 to 3 (and the many models that share its {@code model_type}), with both styles of
 * configuration: {@code rope_theta} and {@code rope_scaling} at the top (transformers up to 4), or
 * {@code rope_parameters} (5).
 */
public final class LlamaFamily implements ModelFamily {

  /**
   * Keys that do not change what the model computes: bookkeeping, token ids, labels (checked where
   * a score head needs them), settings of generation and of Hugging Face's own training loop.
   */
  private static final Set<String> HARMLESS =
      Set.of(
          "_attn_implementation",
          "_attn_implementation_autoset",
          "_flash_attn_2_enabled",
          "_name_or_path",
          "architectures",
          "auto_map",
          "bad_words_ids",
          "begin_suppress_tokens",
          "bos_token_id",
          "chunk_size_feed_forward",
          "cls_token_id",
          "cross_attention_hidden_size",
          "decoder_start_token_id",
          "diversity_penalty",
          "do_sample",
          "dtype",
          "early_stopping",
          "encoder_no_repeat_ngram_size",
          "eos_token_id",
          "exponential_decay_length_penalty",
          "finetuning_task",
          "forced_bos_token_id",
          "forced_eos_token_id",
          "gradient_checkpointing",
          "id2label",
          "initializer_range",
          "is_decoder",
          "is_llama_config",
          "label2id",
          "length_penalty",
          "max_length",
          "max_sequence_length",
          "min_length",
          "model_type",
          "no_repeat_ngram_size",
          "num_beam_groups",
          "num_beams",
          "num_labels",
          "num_return_sequences",
          "output_attentions",
          "output_hidden_states",
          "output_scores",
          "pad_token_id",
          "prefix",
          "problem_type",
          "remove_invalid_values",
          "repetition_penalty",
          "return_dict",
          "return_dict_in_generate",
          "sep_token_id",
          "suppress_tokens",
          "task_specific_params",
          "temperature",
          "tf_legacy_loss",
          "tokenizer_class",
          "top_k",
          "top_p",
          "torch_dtype",
          "torchscript",
          "transformers.js_config",
          "transformers_version",
          "typical_p",
          "unk_token_id",
          "unsloth_fixed",
          "unsloth_version",
          "use_bfloat16",
          "use_cache");

  /** Keys that would change the computation unless they are false, empty or null. */
  private static final List<String> UNSET =
      List.of(
          "add_cross_attention",
          "is_encoder_decoder",
          "pruned_heads",
          "quantization_config",
          "rope_interleaved",
          "sliding_window",
          "tie_encoder_decoder");

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
    return "model.embed_tokens.weight";
  }

  @Override
  public String headName(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> "lm_head.weight";
      case SEQUENCE_CLASSIFICATION -> "score.weight";
    };
  }

  @Override
  public boolean isDerived(String tensorName) {
    return tensorName.endsWith(".rotary_emb.inv_freq");
  }

  @Override
  public DecoderSpec read(JsonNode config, Path file) {
    ConfigReader reader = new ConfigReader(config, file, "");
    requireSupported(reader);
    int hiddenSize = reader.requireInt("hidden_size");
    int heads = reader.requireInt("num_attention_heads");
    try {
      DecoderSpec spec =
          new DecoderSpec(
              modelType(),
              reader.requireInt("vocab_size"),
              hiddenSize,
              reader.requireInt("intermediate_size"),
              reader.requireInt("num_hidden_layers"),
              heads,
              reader.intOr("num_key_value_heads", heads),
              headDim(reader, hiddenSize, heads),
              reader.intOr("max_position_embeddings", 2048),
              reader.numberOr("rms_norm_eps", 1e-6),
              rope(reader),
              reader.flagOr("attention_bias", false),
              reader.flagOr("mlp_bias", false),
              reader.flagOr("tie_word_embeddings", false));
      reader.refuseOthers(HARMLESS);
      return spec;
    } catch (IllegalArgumentException e) {
      throw RlhfException.input(file + ": " + e.getMessage(), e);
    }
  }

  @Override
  public List<ParameterSpec> parameters(DecoderSpec spec) {
    List<ParameterSpec> parameters = new ArrayList<>();
    parameters.add(ParameterSpec.weight(embeddingName(), spec.vocabularySize(), spec.hiddenSize()));
    for (int layer = 0; layer < spec.layers(); layer++) {
      addLayer(parameters, spec, "model.layers." + layer + ".");
    }
    parameters.add(ParameterSpec.undecayed("model.norm.weight", spec.hiddenSize()));
    return List.copyOf(parameters);
  }

  @Override
  public List<ParameterSpec> headParameters(DecoderSpec spec, ModelHead head) {
    return switch (head) {
      case CAUSAL_LM ->
          spec.tiedHead()
              ? List.of()
              : List.of(
                  ParameterSpec.weight(headName(head), spec.vocabularySize(), spec.hiddenSize()));
      case SEQUENCE_CLASSIFICATION ->
          List.of(ParameterSpec.weight(headName(head), 1, spec.hiddenSize()));
    };
  }

  private static void addLayer(List<ParameterSpec> to, DecoderSpec spec, String layer) {
    String attention = layer + "self_attn.";
    String mlp = layer + "mlp.";
    long hidden = spec.hiddenSize();
    long inner = spec.intermediateSize();
    long queries = (long) spec.heads() * spec.headDim();
    long keys = (long) spec.keyValueHeads() * spec.headDim();
    to.add(ParameterSpec.undecayed(layer + "input_layernorm.weight", hidden));
    to.add(ParameterSpec.weight(attention + "q_proj.weight", queries, hidden));
    to.add(ParameterSpec.weight(attention + "k_proj.weight", keys, hidden));
    to.add(ParameterSpec.weight(attention + "v_proj.weight", keys, hidden));
    to.add(ParameterSpec.weight(attention + "o_proj.weight", hidden, queries));
    to.add(ParameterSpec.undecayed(layer + "post_attention_layernorm.weight", hidden));
    to.add(ParameterSpec.weight(mlp + "gate_proj.weight", inner, hidden));
    to.add(ParameterSpec.weight(mlp + "up_proj.weight", inner, hidden));
    to.add(ParameterSpec.weight(mlp + "down_proj.weight", hidden, inner));
    if (spec.attentionBias()) {
      to.add(ParameterSpec.undecayed(attention + "q_proj.bias", queries));
      to.add(ParameterSpec.undecayed(attention + "k_proj.bias", keys));
      to.add(ParameterSpec.undecayed(attention + "v_proj.bias", keys));
      to.add(ParameterSpec.undecayed(attention + "o_proj.bias", hidden));
    }
    if (spec.mlpBias()) {
      to.add(ParameterSpec.undecayed(mlp + "gate_proj.bias", inner));
      to.add(ParameterSpec.undecayed(mlp + "up_proj.bias", inner));
      to.add(ParameterSpec.undecayed(mlp + "down_proj.bias", hidden));
    }
  }

  private static void requireSupported(ConfigReader reader) {
    if (!Set.of("silu", "swish").contains(reader.textOr("hidden_act", "silu"))) {
      throw reader.unsupported("hidden_act", "silu");
    }
    reader.requireOnly("attention_dropout", 0);
    reader.requireOnly("pretraining_tp", 1);
    reader.requireOnly("partial_rotary_factor", 1);
    UNSET.forEach(reader::requireUnset);
  }

  private static int headDim(ConfigReader reader, int hiddenSize, int heads) {
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

  private static Rope rope(ConfigReader top) {
    if (top.has("rope_parameters") && top.has("rope_scaling")) {
      throw new IllegalArgumentException("rope_parameters and rope_scaling are both set");
    }
    ConfigReader nested =
        top.child(top.has("rope_parameters") ? "rope_parameters" : "rope_scaling");
    nested.requireOnly("partial_rotary_factor", 1);
    if (nested.has("rope_theta")
        && top.has("rope_theta")
        && nested.requireNumber("rope_theta") != top.requireNumber("rope_theta")) {
      throw top.unsupported("rope_theta", "the value in rope_parameters");
    }
    double theta = nested.numberOr("rope_theta", top.numberOr("rope_theta", 10000));
    Rope rope = new Rope(theta, scaling(nested));
    nested.refuseOthers(Set.of());
    return rope;
  }

  private static Rope.Scaling scaling(ConfigReader reader) {
    String key = reader.has("rope_type") ? "rope_type" : "type";
    String type = reader.textOr(key, "default");
    if (!reader.textOr("type", type).equals(type)) {
      throw reader.unsupported("type", "the same as rope_type");
    }
    return switch (type) {
      case "default" -> new Rope.Unscaled();
      case "linear" -> new Rope.Linear(reader.requireNumber("factor"));
      case "llama3" ->
          new Rope.Llama3(
              reader.requireNumber("factor"),
              reader.requireNumber("low_freq_factor"),
              reader.requireNumber("high_freq_factor"),
              reader.requireInt("original_max_position_embeddings"));
      default -> throw reader.unsupported(key, "default, linear, llama3");
    };
  }
}
