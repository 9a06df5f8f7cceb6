package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Keys of a {@code config.json} that all families treat alike. */
final class CommonKeys {

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
          "label2id",
          "length_penalty",
          "max_length",
          "max_sequence_length",
          "min_length",
          "model_type",
          "n_ctx",
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
          "summary_activation",
          "summary_first_dropout",
          "summary_proj_to_labels",
          "summary_type",
          "summary_use_proj",
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

  /** Shares of dropout. Nothing here drops out: RLHF's ratios compare a model with itself. */
  private static final Set<String> DROPOUTS =
      Set.of(
          "activation_dropout",
          "attention_dropout",
          "attention_probs_dropout_prob",
          "attn_pdrop",
          "classifier_dropout",
          "dropout",
          "embd_pdrop",
          "embed_dropout",
          "hidden_dropout",
          "hidden_dropout_prob",
          "layerdrop",
          "resid_dropout",
          "resid_pdrop");

  /** Keys that would change the computation unless they are false, empty or null. */
  private static final List<String> UNSET =
      List.of(
          "add_cross_attention",
          "is_encoder_decoder",
          "pruned_heads",
          "quantization_config",
          "tie_encoder_decoder");

  private CommonKeys() {}

  /** Refuses what no family supports. */
  static void requireSupported(ConfigReader reader) {
    UNSET.forEach(reader::requireUnset);
  }

  /** The shares of dropout that a configuration asks for and that are not applied in training. */
  static List<String> dropouts(JsonNode config) {
    return DROPOUTS.stream()
        .sorted()
        .filter(key -> config.path(key).asDouble() > 0)
        .map(key -> key + " " + config.get(key))
        .toList();
  }

  /** The common harmless keys and some of a family's own. */
  static Set<String> harmlessAnd(String... own) {
    Set<String> all = new HashSet<>(HARMLESS);
    all.addAll(DROPOUTS);
    all.addAll(List.of(own));
    return Set.copyOf(all);
  }
}
