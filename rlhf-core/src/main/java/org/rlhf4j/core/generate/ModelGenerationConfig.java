package org.rlhf4j.core.generate;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;

/**
 * What a model folder says about generation.
 *
 * @param eosIds the ids that end a response: of {@code generation_config.json}, else of {@code
 *     config.json}; empty where neither names any
 * @param keys keys of {@link GenerationConfig} that {@code generation_config.json} sets, with their
 *     values
 * @param notTaken other settings there that would change a response
 */
public record ModelGenerationConfig(int[] eosIds, Map<String, Object> keys, List<String> notTaken) {
  /** The file's name within a model folder. */
  public static final String FILE_NAME = "generation_config.json";

  private static final String EOS = "eos_token_id";

  /** From Hugging Face's name to ours. */
  private static final Map<String, String> NAMES =
      Map.of(
          "do_sample", "do_sample",
          "temperature", "temperature",
          "top_k", "top_k",
          "top_p", "top_p",
          "min_p", "min_p",
          "repetition_penalty", "repetition_penalty",
          "no_repeat_ngram_size", "no_repeat_ngram_size",
          "max_new_tokens", "max_new_tokens",
          "min_new_tokens", "min_new_tokens",
          "stop_strings", "stop");

  /** Keys that say nothing about what is generated here. */
  private static final Set<String> WITHOUT_EFFECT =
      Set.of(
          EOS,
          "bos_token_id",
          "pad_token_id",
          "transformers_version",
          "_from_model_config",
          "use_cache",
          "output_attentions",
          "output_hidden_states",
          "output_scores",
          "return_dict_in_generate");

  /**
   * Reads a model folder.
   *
   * @param vocabularySize end ids are below this
   * @throws RlhfException if an end id is no id of the model
   */
  public static ModelGenerationConfig of(ModelFolder folder, int vocabularySize) {
    ObjectNode settings = folder.generationConfig().orElseGet(() -> folder.config().objectNode());
    boolean inSettings = settings.hasNonNull(EOS);
    JsonNode ids = inSettings ? settings.path(EOS) : folder.config().path(EOS);
    String place =
        (inSettings ? folder.path().resolve(FILE_NAME) : folder.configFile()) + ": " + EOS;
    Map<String, Object> keys = new LinkedHashMap<>();
    List<String> notTaken = new ArrayList<>();
    Map<String, JsonNode> sorted = new TreeMap<>();
    settings.properties().forEach(entry -> sorted.put(entry.getKey(), entry.getValue()));
    sorted.forEach(
        (name, value) -> {
          if (value.isNull() || WITHOUT_EFFECT.contains(name)) {
            return;
          }
          if (NAMES.containsKey(name)) {
            keys.put(NAMES.get(name), plain(value));
          } else {
            notTaken.add(name);
          }
        });
    return new ModelGenerationConfig(endIds(ids, place, vocabularySize), keys, notTaken);
  }

  private static Object plain(JsonNode value) {
    if (value.isArray()) {
      List<String> texts = new ArrayList<>();
      value.forEach(each -> texts.add(each.asText()));
      return texts;
    }
    return value.asText();
  }

  private static int[] endIds(JsonNode ids, String place, int vocabularySize) {
    List<JsonNode> all = new ArrayList<>();
    if (ids.isArray()) {
      ids.forEach(all::add);
    } else if (!ids.isMissingNode() && !ids.isNull()) {
      all.add(ids);
    }
    int[] found = new int[all.size()];
    for (int i = 0; i < found.length; i++) {
      JsonNode id = all.get(i);
      if (!id.isInt() || id.intValue() < 0 || id.intValue() >= vocabularySize) {
        throw RlhfException.input(
            place + " is " + id + ", must be ids of the vocabulary, 0 to " + (vocabularySize - 1));
      }
      found[i] = id.intValue();
    }
    return found;
  }
}
