package org.rlhf4j.core.text;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.CharSpan;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.rlhf4j.core.RlhfException;

/**
 * The tokenizer of a Hugging Face model folder, read from its {@code tokenizer.json}. Text is never
 * cut or padded.
 *
 * <p>Which special tokens are added around a text (BOS, EOS) is what the post-processor of {@code
 * tokenizer.json} says, as in transformers 5; {@code add_bos_token} and {@code add_eos_token} of
 * {@code tokenizer_config.json} do not change it.
 *
 * <p>Inside the engine every special token goes by a secret name, drawn anew at each load, in place
 * of its own. So {@code </s>} in a user's text is four plain characters, whereas a {@link
 * Segment#markup()} segment gets the secret name and thereby the token. Nothing outside this class
 * sees these names.
 *
 * <p>Holds native memory: close it. Safe for use by several threads.
 */
public final class Tokenizer implements AutoCloseable {
  private static final String TOKENIZER_FILE = "tokenizer.json";
  private static final String CONFIG_FILE = "tokenizer_config.json";
  private static final String SPECIALS_FILE = "special_tokens_map.json";

  private static final ObjectMapper JSON = new ObjectMapper();

  private final HuggingFaceTokenizer engine;
  private final Map<String, Integer> vocabulary;
  private final Map<String, String> secretNames;
  private final Map<String, Integer> roles;
  private final String eosText;

  private Tokenizer(
      HuggingFaceTokenizer engine,
      Map<String, Integer> vocabulary,
      Map<String, String> secretNames,
      Map<String, Integer> roles,
      String eosText) {
    this.engine = engine;
    this.vocabulary = vocabulary;
    this.secretNames = secretNames;
    this.roles = roles;
    this.eosText = eosText;
  }

  /** Whether a folder holds a tokenizer that {@link #load} can read. */
  public static boolean existsIn(Path folder) {
    return Files.isRegularFile(folder.resolve(TOKENIZER_FILE));
  }

  /**
   * Reads the tokenizer of a model folder.
   *
   * @throws RlhfException if a file is missing, corrupt or holds a tokenizer that the engine does
   *     not know; the message names the file
   */
  public static Tokenizer load(Path folder) {
    Path file = folder.resolve(TOKENIZER_FILE);
    if (!Files.isRegularFile(file)) {
      String hint =
          Files.isRegularFile(folder.resolve("tokenizer.model"))
              ? " (tokenizer.model alone is not read: convert it to tokenizer.json)"
              : "";
      throw RlhfException.input(file + ": no such tokenizer file" + hint);
    }
    ObjectNode tokenizer = readObject(file);
    ObjectNode config = readObjectIfPresent(folder.resolve(CONFIG_FILE));
    ObjectNode specialsMap = readObjectIfPresent(folder.resolve(SPECIALS_FILE));

    Map<String, Integer> vocabulary = readVocabulary(tokenizer, file);
    ArrayNode addedTokens = addedTokens(tokenizer, file);
    addTokensOfConfig(config, vocabulary, addedTokens);
    Map<String, Integer> roles = new HashMap<>();
    String eosText = null;
    for (String role : List.of("bos_token", "eos_token", "pad_token", "unk_token")) {
      String content =
          tokenText(config.path(role)).or(() -> tokenText(specialsMap.path(role))).orElse(null);
      Integer id = content == null ? null : vocabulary.get(content);
      if (id == null) {
        continue;
      }
      roles.put(role, id);
      markSpecial(addedTokens, content, id);
      if (role.equals("eos_token")) {
        eosText = content;
      }
    }
    Map<String, String> secretNames = hideSpecialTokens(tokenizer, addedTokens);
    tokenizer.putNull("truncation");
    tokenizer.putNull("padding");
    return new Tokenizer(
        createEngine(tokenizer, file), Map.copyOf(vocabulary), secretNames, roles, eosText);
  }

  /** The ids of a text, with the special tokens that the tokenizer adds by itself (BOS). */
  public int[] encode(String text) {
    return encodeWithOffsets(text).ids();
  }

  /** The ids of a text and nothing else. */
  public int[] encodePlain(String text) {
    return encode(List.of(Segment.text(text, false)), false).ids();
  }

  /** As {@link #encode}, with each token's place in the text. */
  public EncodedText encodeWithOffsets(String text) {
    return encode(List.of(Segment.text(text, false)), true);
  }

  /**
   * As {@link #encodeWithOffsets}, but strings of special tokens are these tokens. For text that a
   * template or the tokenizer's own maker wrote, never for a user's.
   */
  public EncodedText encodeParsingSpecials(String text) {
    return encode(List.of(Segment.markup(text, false)), true);
  }

  /**
   * Encodes the concatenation of the segments as one text. Offsets count in the concatenation of
   * {@link Segment#text()}.
   */
  public EncodedText encode(List<Segment> segments) {
    return encode(segments, true);
  }

  /** The text of the ids without special tokens. */
  public String decode(int[] ids) {
    return engine.decode(toLongs(ids), true);
  }

  /** The text of the ids, special tokens by their names. */
  public String decodeAll(int[] ids) {
    String text = engine.decode(toLongs(ids), false);
    for (Map.Entry<String, String> entry : secretNames.entrySet()) {
      text = text.replace(entry.getValue(), entry.getKey());
    }
    return text;
  }

  /** A decoder for ids that come one by one. */
  public TokenStream stream() {
    return new TokenStream(this);
  }

  /** The id that begins a text, if the model folder names one. */
  public OptionalInt bosId() {
    return role("bos_token");
  }

  /** The id that ends a text, if the model folder names one. */
  public OptionalInt eosId() {
    return role("eos_token");
  }

  /** The padding id, if the model folder names one. */
  public OptionalInt padId() {
    return role("pad_token");
  }

  /** The id of unknown characters, if the model folder names one. */
  public OptionalInt unkId() {
    return role("unk_token");
  }

  /** How the end token is spelt, if there is one. */
  public Optional<String> eosText() {
    return Optional.ofNullable(eosText);
  }

  /** One more than the largest id. The model's embedding may have more rows. */
  public int vocabularySize() {
    return vocabulary.values().stream().mapToInt(Integer::intValue).max().orElse(-1) + 1;
  }

  /** The id of a token by its spelling in the vocabulary. */
  public OptionalInt idOf(String token) {
    Integer id = vocabulary.get(token);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  @Override
  public void close() {
    engine.close();
  }

  private OptionalInt role(String name) {
    Integer id = roles.get(name);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  private EncodedText encode(List<Segment> segments, boolean addSpecialTokens) {
    StringBuilder hidden = new StringBuilder();
    // place[i]: UTF-16 index in the visible text of the hidden text's code point i. The engine
    // counts in code points, and a special token's secret name has another length than its own.
    List<Integer> places = new ArrayList<>();
    int visible = 0;
    for (Segment segment : segments) {
      String text = segment.text();
      int index = 0;
      while (index < text.length()) {
        String special = segment.markup() ? specialAt(text, index) : null;
        if (special == null) {
          int codePoint = text.codePointAt(index);
          hidden.appendCodePoint(codePoint);
          places.add(visible);
          index += Character.charCount(codePoint);
          visible += Character.charCount(codePoint);
        } else {
          String secret = secretNames.get(special);
          hidden.append(secret);
          for (int i = secret.codePointCount(0, secret.length()); i > 0; i--) {
            places.add(visible);
          }
          index += special.length();
          visible += special.length();
        }
      }
    }
    places.add(visible);

    Encoding encoding = engine.encode(hidden.toString(), addSpecialTokens, false);
    long[] longIds = encoding.getIds();
    CharSpan[] spans = encoding.getCharTokenSpans();
    int[] ids = new int[longIds.length];
    int[] starts = new int[longIds.length];
    int[] ends = new int[longIds.length];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = Math.toIntExact(longIds[i]);
      starts[i] = spans[i] == null ? EncodedText.NO_SPAN : places.get(spans[i].getStart());
      ends[i] = spans[i] == null ? EncodedText.NO_SPAN : places.get(spans[i].getEnd());
    }
    return new EncodedText(ids, starts, ends);
  }

  /** The longest special token that begins here, or null. */
  private String specialAt(String text, int index) {
    String longest = null;
    for (String special : secretNames.keySet()) {
      if (text.startsWith(special, index)
          && (longest == null || special.length() > longest.length())) {
        longest = special;
      }
    }
    return longest;
  }

  private static long[] toLongs(int[] ids) {
    return Arrays.stream(ids).asLongStream().toArray();
  }

  private static HuggingFaceTokenizer createEngine(ObjectNode tokenizer, Path file) {
    try {
      return HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(JSON.writeValueAsBytes(tokenizer)),
          Map.of("truncation", "false", "padding", "false"));
    } catch (IOException | RuntimeException e) {
      throw RlhfException.input(file + ": not a usable tokenizer: " + e.getMessage(), e);
    }
  }

  private static ObjectNode readObject(Path file) {
    try {
      JsonNode node = JSON.readTree(file.toFile());
      if (node instanceof ObjectNode object) {
        return object;
      }
      throw RlhfException.input(file + ": expected a JSON object");
    } catch (JsonProcessingException e) {
      throw RlhfException.input(
          file
              + ": broken JSON at line "
              + e.getLocation().getLineNr()
              + ": "
              + e.getOriginalMessage(),
          e);
    } catch (IOException e) {
      throw RlhfException.input(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  private static ObjectNode readObjectIfPresent(Path file) {
    return Files.isRegularFile(file) ? readObject(file) : JSON.createObjectNode();
  }

  private static Map<String, Integer> readVocabulary(ObjectNode tokenizer, Path file) {
    Map<String, Integer> vocabulary = new HashMap<>();
    JsonNode tokens = tokenizer.path("model").path("vocab");
    if (tokens.isObject()) {
      tokens.properties().forEach(e -> vocabulary.put(e.getKey(), e.getValue().asInt()));
    } else if (tokens.isArray()) {
      for (int id = 0; id < tokens.size(); id++) {
        vocabulary.put(tokens.path(id).path(0).asText(), id);
      }
    } else {
      throw RlhfException.input(file + ": has no model.vocab");
    }
    for (JsonNode token : tokenizer.path("added_tokens")) {
      vocabulary.put(token.path("content").asText(), token.path("id").asInt());
    }
    return vocabulary;
  }

  private static ArrayNode addedTokens(ObjectNode tokenizer, Path file) {
    JsonNode tokens = tokenizer.path("added_tokens");
    if (tokens instanceof ArrayNode array) {
      return array;
    }
    if (tokens.isMissingNode() || tokens.isNull()) {
      return tokenizer.putArray("added_tokens");
    }
    throw RlhfException.input(file + ": added_tokens is not a list");
  }

  /** Version 4 may keep tokens in {@code added_tokens_decoder} that tokenizer.json lacks. */
  private static void addTokensOfConfig(
      ObjectNode config, Map<String, Integer> vocabulary, ArrayNode addedTokens) {
    config
        .path("added_tokens_decoder")
        .properties()
        .forEach(
            entry -> {
              String content = entry.getValue().path("content").asText();
              if (!vocabulary.containsKey(content)) {
                int id = Integer.parseInt(entry.getKey());
                vocabulary.put(content, id);
                ObjectNode token = entry.getValue().deepCopy();
                addedTokens.add(token.put("id", id));
              }
            });
  }

  /** A token is written as a string, or as an object with {@code content}. */
  private static Optional<String> tokenText(JsonNode node) {
    JsonNode text = node.isObject() ? node.path("content") : node;
    return text.isTextual() ? Optional.of(text.asText()) : Optional.empty();
  }

  private static void markSpecial(ArrayNode addedTokens, String content, int id) {
    for (JsonNode token : addedTokens) {
      if (token.path("content").asText().equals(content)) {
        ((ObjectNode) token).put("special", true);
        return;
      }
    }
    addedTokens
        .addObject()
        .put("id", id)
        .put("content", content)
        .put("single_word", false)
        .put("lstrip", false)
        .put("rstrip", false)
        .put("normalized", false)
        .put("special", true);
  }

  /**
   * Renames every special token in the description of the tokenizer.
   *
   * @return from each token's own name to its secret one
   */
  private static Map<String, String> hideSpecialTokens(
      ObjectNode tokenizer, ArrayNode addedTokens) {
    SecureRandom random = new SecureRandom();
    Map<String, String> names = new LinkedHashMap<>();
    for (JsonNode token : addedTokens) {
      if (token.path("special").asBoolean()) {
        String content = token.path("content").asText();
        names.put(content, secretName(random));
        ((ObjectNode) token).put("content", names.get(content));
      }
    }
    ObjectNode model = (ObjectNode) tokenizer.path("model");
    if (model.path("unk_token").isTextual()) {
      String unknown = model.path("unk_token").asText();
      model.put("unk_token", names.getOrDefault(unknown, unknown));
    }
    model.set("vocab", renamed(model.path("vocab"), names));
    tokenizer.set("post_processor", renamed(tokenizer.path("post_processor"), names));
    return names;
  }

  /** Eight characters of a plane for private use: 128 random bits that no text holds by chance. */
  private static String secretName(SecureRandom random) {
    StringBuilder name = new StringBuilder();
    for (int i = 0; i < 8; i++) {
      name.appendCodePoint(0xF0000 + random.nextInt(0xFFFE));
    }
    return name.toString();
  }

  private static JsonNode renamed(JsonNode node, Map<String, String> names) {
    if (node.isTextual()) {
      return JSON.getNodeFactory().textNode(names.getOrDefault(node.asText(), node.asText()));
    }
    if (node.isArray()) {
      ArrayNode copy = JSON.createArrayNode();
      node.forEach(element -> copy.add(renamed(element, names)));
      return copy;
    }
    if (node.isObject()) {
      ObjectNode copy = JSON.createObjectNode();
      node.properties()
          .forEach(
              entry ->
                  copy.set(
                      names.getOrDefault(entry.getKey(), entry.getKey()),
                      renamed(entry.getValue(), names)));
      return copy;
    }
    return node.isMissingNode() ? JSON.nullNode() : node;
  }
}
