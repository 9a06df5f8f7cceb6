package org.rlhf4j.core.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/** The {@code config.json} of a saved model, made from that of the model the run started from. */
public final class ConfigJson {
  private static final String ARCHITECTURES = "architectures";
  private static final String PAD_TOKEN_ID = "pad_token_id";
  private static final String EOS_TOKEN_ID = "eos_token_id";
  private static final JsonMapper MAPPER = new JsonMapper();

  private ConfigJson() {}

  /**
   * The configuration of a language model.
   *
   * @param start the start model's configuration; every key that is not named here is kept
   * @param architecture Hugging Face's class, such as {@code LlamaForCausalLM}
   * @param type what the weights are stored as; written to {@code dtype}, {@code torch_dtype} or
   *     both, whichever the start model has
   */
  public static ObjectNode causalLm(ObjectNode start, String architecture, StoredType type) {
    ObjectNode config = start.deepCopy();
    config.remove("num_labels");
    config.remove("id2label");
    config.remove("label2id");
    return stamp(config, architecture, type);
  }

  /**
   * The configuration of a reward model: as {@link #causalLm}, with one label and a pad token.
   *
   * @param architecture Hugging Face's class, such as {@code LlamaForSequenceClassification}
   * @param padTokenId see {@link #rewardPadTokenId}
   */
  public static ObjectNode reward(
      ObjectNode start, String architecture, StoredType type, int padTokenId) {
    ObjectNode config = start.deepCopy();
    config.put("num_labels", 1);
    config.putObject("id2label").put("0", "LABEL_0");
    config.putObject("label2id").put("LABEL_0", 0);
    config.put(PAD_TOKEN_ID, padTokenId);
    return stamp(config, architecture, type);
  }

  /**
   * The pad token with which Hugging Face reads a reward at the last token. It takes the right-most
   * token that is not the pad token, so a text that ends with EOS needs another pad token.
   *
   * @param start the start model
   * @param tokenizerPad the tokenizer's pad token, where there is one; used where the model's
   *     configuration names none
   * @param appendEos whether the texts are scored at a closing EOS
   * @throws RlhfException when only EOS could serve and texts end with it, or when there is neither
   *     a pad nor an EOS token
   */
  public static int rewardPadTokenId(
      ModelFolder start, OptionalInt tokenizerPad, boolean appendEos) {
    ObjectNode config = start.config();
    Path file = start.configFile();
    Set<Integer> ends = tokenIds(config, EOS_TOKEN_ID, file);
    start
        .generationConfig()
        .ifPresent(
            generation ->
                ends.addAll(
                    tokenIds(
                        generation,
                        EOS_TOKEN_ID,
                        start.path().resolve(ModelFolder.GENERATION_CONFIG_FILE))));
    Set<Integer> pads = tokenIds(config, PAD_TOKEN_ID, file);
    tokenizerPad.ifPresent(pads::add);
    pads.removeAll(ends);
    if (!pads.isEmpty()) {
      return pads.iterator().next();
    }
    if (ends.isEmpty()) {
      throw RlhfException.input(
          file
              + ": neither pad_token_id nor eos_token_id is set; a reward model needs a pad_token_id"
              + " that no text ends with");
    }
    if (appendEos) {
      throw RlhfException.config(
          "append_eos: true needs a pad token distinct from the end token, else Hugging Face reads"
              + " the reward one token early; set pad_token_id in "
              + file
              + " (end token "
              + ends
              + ") or append_eos: false");
    }
    return ends.iterator().next();
  }

  /** The JSON text as Hugging Face lays it out, in UTF-8. */
  public static byte[] toBytes(JsonNode node) {
    DefaultPrettyPrinter printer =
        new DefaultPrettyPrinter(
                Separators.createDefaultInstance()
                    .withObjectFieldValueSpacing(Separators.Spacing.AFTER))
            .withObjectIndenter(new DefaultIndenter("  ", "\n"))
            .withArrayIndenter(new DefaultIndenter("  ", "\n"));
    try {
      return (MAPPER.writer(printer).writeValueAsString(node) + "\n")
          .getBytes(StandardCharsets.UTF_8);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a JSON tree is always JSON", e);
    }
  }

  /** Writes class and type into a configuration; everything else is kept. */
  public static ObjectNode stamp(ObjectNode config, String architecture, StoredType type) {
    config.putArray(ARCHITECTURES).add(architecture);
    boolean newStyle = config.has("dtype");
    boolean oldStyle = config.has("torch_dtype");
    if (newStyle || (!oldStyle && config.has("rope_parameters"))) {
      config.put("dtype", type.configName());
    }
    if (oldStyle || (!newStyle && !config.has("rope_parameters"))) {
      config.put("torch_dtype", type.configName());
    }
    return config;
  }

  /** The ids under a key that holds a number, a list of numbers, null or, in old files, -1. */
  private static Set<Integer> tokenIds(ObjectNode config, String key, Path file) {
    Set<Integer> ids = new LinkedHashSet<>();
    JsonNode node = config.path(key);
    if (node.isMissingNode() || node.isNull()) {
      return ids;
    }
    for (JsonNode item : node.isArray() ? node : List.of(node)) {
      if (!item.canConvertToInt() || !item.isIntegralNumber()) {
        throw RlhfException.input(file + ": " + key + " must be a token id, found " + node);
      }
      if (item.intValue() >= 0) {
        ids.add(item.intValue());
      }
    }
    return ids;
  }
}
