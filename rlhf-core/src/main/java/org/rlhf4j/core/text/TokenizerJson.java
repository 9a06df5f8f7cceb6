package org.rlhf4j.core.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.rlhf4j.core.RlhfException;

/**
 * Looks at the content of a tokenizer.json before the engine does: the engine ends the whole
 * process at some things that it does not expect, such as a template that names no known token.
 */
final class TokenizerJson {
  private static final List<String> FLAGS =
      List.of("single_word", "lstrip", "rstrip", "normalized", "special");

  private final Path file;
  private final ObjectNode tokenizer;

  private TokenizerJson(ObjectNode tokenizer, Path file) {
    this.tokenizer = tokenizer;
    this.file = file;
  }

  /**
   * Checks the whole file. The kind of an old file's model is added where it is left out.
   *
   * @throws RlhfException that names the key, what was found and what is allowed
   */
  static void check(ObjectNode tokenizer, Path file) {
    new TokenizerJson(tokenizer, file).check();
  }

  private void check() {
    TokenizerParts parts = new TokenizerParts(file);
    for (TokenizerParts.Part part : TokenizerParts.Part.values()) {
      parts.check(part, tokenizer.path(part.key()), part.key());
    }
    JsonNode model = tokenizer.path("model");
    if (!(model instanceof ObjectNode object)) {
      throw wrong("model", "an object", model);
    }
    if (!model.has("type")) {
      object.put("type", kindOf(model));
    }
    JsonNode type = model.path("type");
    switch (type.asText()) {
      case "BPE" -> checkBpe(model);
      case "Unigram" -> checkUnigram(model);
      case "WordLevel", "WordPiece" -> {
        requireIds(model.path("vocab"));
        requireUnknown(model, true);
      }
      default -> throw wrong("model.type", "BPE, Unigram, WordLevel or WordPiece", type);
    }
    checkAddedTokens();
    checkTemplates(tokenizer.path("post_processor"), "post_processor");
  }

  /** Files of 2020 have no {@code type}; the engine tells the kinds apart by their keys. */
  private static String kindOf(JsonNode model) {
    if (model.has("merges")) {
      return "BPE";
    }
    if (model.path("vocab").isArray()) {
      return "Unigram";
    }
    return model.has("max_input_chars_per_word") ? "WordPiece" : "WordLevel";
  }

  private void checkBpe(JsonNode model) {
    JsonNode vocabulary = model.path("vocab");
    requireIds(vocabulary);
    requireUnknown(model, false);
    if (!model.path("dropout").isMissingNode() && model.path("dropout").asDouble() != 0) {
      throw wrong("model.dropout", "null: a text always gets the same ids", model.path("dropout"));
    }
    for (String flag : List.of("fuse_unk", "byte_fallback", "ignore_merges")) {
      requireFlag(model.path(flag), "model." + flag);
    }
    String prefix = "";
    for (String key : List.of("continuing_subword_prefix", "end_of_word_suffix")) {
      JsonNode text = model.path(key);
      if (!text.isMissingNode() && !text.isNull() && !text.isTextual()) {
        throw wrong("model." + key, "a string or null", text);
      }
      prefix = key.startsWith("continuing") ? text.asText("") : prefix;
    }
    JsonNode merges = model.path("merges");
    if (!merges.isArray()) {
      throw wrong("model.merges", "a list", merges);
    }
    for (int i = 0; i < merges.size(); i++) {
      String[] parts = mergeParts(merges.path(i));
      String place = "model.merges[" + i + "]";
      if (parts.length != 2) {
        throw wrong(place, "two tokens", merges.path(i));
      }
      if (!parts[1].startsWith(prefix)) {
        throw wrong(place, "a second token that begins with " + prefix, merges.path(i));
      }
      String merged = parts[0] + parts[1].substring(prefix.length());
      for (String token : List.of(parts[0], parts[1], merged)) {
        if (!vocabulary.has(token)) {
          throw wrong(place, "tokens of model.vocab, which lacks '" + token + "'", merges.path(i));
        }
      }
    }
  }

  /** The two tokens of a merge: a list, or in older files a string with a space between them. */
  static String[] mergeParts(JsonNode merge) {
    if (merge.isTextual()) {
      return merge.asText().split(" ", -1);
    }
    boolean pair =
        merge.isArray()
            && merge.size() == 2
            && merge.path(0).isTextual()
            && merge.path(1).isTextual();
    return pair ? new String[] {merge.path(0).asText(), merge.path(1).asText()} : new String[0];
  }

  private void checkUnigram(JsonNode model) {
    JsonNode vocabulary = model.path("vocab");
    if (!vocabulary.isArray() || vocabulary.isEmpty()) {
      throw wrong("model.vocab", "a list of tokens with scores", vocabulary);
    }
    for (int id = 0; id < vocabulary.size(); id++) {
      JsonNode entry = vocabulary.path(id);
      boolean good =
          entry.isArray()
              && entry.size() == 2
              && entry.path(0).isTextual()
              && !entry.path(0).asText().isEmpty()
              && entry.path(1).isNumber()
              && Double.isFinite(entry.path(1).asDouble());
      if (!good) {
        throw wrong("model.vocab[" + id + "]", "a token and its score", entry);
      }
    }
    JsonNode unknown = model.path("unk_id");
    if (!unknown.isInt() || unknown.asInt() < 0 || unknown.asInt() >= vocabulary.size()) {
      throw wrong("model.unk_id", "an id of model.vocab", unknown);
    }
    requireFlag(model.path("byte_fallback"), "model.byte_fallback");
  }

  private void requireIds(JsonNode vocabulary) {
    if (!vocabulary.isObject()) {
      throw wrong("model.vocab", "an object that gives each token its id", vocabulary);
    }
    for (Map.Entry<String, JsonNode> entry : vocabulary.properties()) {
      id(entry.getValue(), file, "model.vocab." + entry.getKey());
    }
  }

  private void requireUnknown(JsonNode model, boolean always) {
    JsonNode unknown = model.path("unk_token");
    if (!always && (unknown.isMissingNode() || unknown.isNull())) {
      return;
    }
    if (!unknown.isTextual() || !model.path("vocab").has(unknown.asText())) {
      throw wrong("model.unk_token", "a token of model.vocab", unknown);
    }
  }

  private void requireFlag(JsonNode flag, String key) {
    if (!flag.isMissingNode() && !flag.isNull() && !flag.isBoolean()) {
      throw wrong(key, "true or false", flag);
    }
  }

  private void checkAddedTokens() {
    JsonNode tokens = tokenizer.path("added_tokens");
    if (tokens.isMissingNode() || tokens.isNull()) {
      tokenizer.putArray("added_tokens");
      return;
    }
    if (!(tokens instanceof ArrayNode list)) {
      throw wrong("added_tokens", "a list", tokens);
    }
    Set<String> contents = new HashSet<>();
    for (int i = 0; i < list.size(); i++) {
      String key = "added_tokens[" + i + "]";
      ObjectNode token = addedToken(list.get(i), file, key);
      id(token.path("id"), file, key + ".id");
      if (!contents.add(token.path("content").asText())) {
        throw wrong(key, "a token that is not listed already", token.path("content"));
      }
      list.set(i, token);
    }
  }

  /**
   * An added token with its content and all flags, of which some files leave out a few.
   *
   * @param key where it stands, for messages
   */
  static ObjectNode addedToken(JsonNode node, Path file, String key) {
    JsonNode content = node.path("content");
    if (!(node instanceof ObjectNode object)
        || !content.isTextual()
        || content.asText().isEmpty()) {
      throw wrong(file, key, "an object with the token's content", node);
    }
    ObjectNode token = object.deepCopy();
    for (String flag : FLAGS) {
      if (!token.has(flag)) {
        token.put(flag, false);
      } else if (!token.path(flag).isBoolean()) {
        throw wrong(file, key + "." + flag, "true or false", token.path(flag));
      }
    }
    return token;
  }

  /** A token's id. */
  static int id(JsonNode node, Path file, String key) {
    if (!node.isInt() || node.asInt() < 0) {
      throw wrong(file, key, "an id from 0", node);
    }
    return node.asInt();
  }

  /** A token's id where it is written as a key. */
  static int id(String text, Path file, String key) {
    if (!text.matches("[0-9]{1,9}")) {
      throw RlhfException.input(file + ": " + key + ": the key must be an id from 0");
    }
    return Integer.parseInt(text);
  }

  /** Checks what a post-processor puts around a text. */
  private void checkTemplates(JsonNode processor, String key) {
    JsonNode inner = processor.path("processors");
    for (int i = 0; i < inner.size(); i++) {
      checkTemplates(inner.path(i), key + ".processors[" + i + "]");
    }
    if (processor.path("type").asText().equals("TemplateProcessing")) {
      JsonNode tokens = processor.path("special_tokens");
      if (!tokens.isObject()) {
        throw wrong(key + ".special_tokens", "an object", tokens);
      }
      for (Map.Entry<String, JsonNode> entry : tokens.properties()) {
        checkSpecialToken(entry.getValue(), key + ".special_tokens." + entry.getKey());
      }
      checkTemplate(processor.path("single"), tokens, Set.of("A"), key + ".single");
      checkTemplate(processor.path("pair"), tokens, Set.of("A", "B"), key + ".pair");
    }
    for (String name : List.of("sep", "cls")) {
      JsonNode token = processor.path(name);
      if (!token.isMissingNode()) {
        if (!token.isArray() || token.size() != 2 || !token.path(0).isTextual()) {
          throw wrong(key + "." + name, "a token and its id", token);
        }
        requireKnown(token.path(1), key + "." + name);
      }
    }
  }

  private void checkSpecialToken(JsonNode token, String key) {
    JsonNode ids = token.path("ids");
    JsonNode names = token.path("tokens");
    if (!ids.isArray() || !names.isArray() || ids.size() != names.size()) {
      throw wrong(key, "as many ids as tokens", token);
    }
    for (int i = 0; i < ids.size(); i++) {
      requireKnown(ids.path(i), key + ".ids");
      if (!names.path(i).isTextual()) {
        throw wrong(key + ".tokens", "strings", names.path(i));
      }
    }
  }

  private void checkTemplate(
      JsonNode template, JsonNode tokens, Set<String> sequences, String key) {
    if (!template.isArray()) {
      throw wrong(key, "a list", template);
    }
    for (JsonNode piece : template) {
      String special = piece.path("SpecialToken").path("id").asText(null);
      String sequence = piece.path("Sequence").path("id").asText(null);
      boolean good =
          piece.size() == 1
              && (special != null ? tokens.has(special) : sequences.contains(sequence + ""));
      if (!good) {
        throw wrong(
            key,
            "Sequence " + new TreeSet<>(sequences) + " and SpecialToken of special_tokens",
            piece);
      }
    }
  }

  /** An id that a token has: no other may come out of the engine. */
  private void requireKnown(JsonNode node, String key) {
    int id = id(node, file, key);
    JsonNode vocabulary = tokenizer.path("model").path("vocab");
    // Ids have no holes, which is checked with the tokens of other files.
    if (id >= vocabulary.size() + tokenizer.path("added_tokens").size()) {
      throw wrong(key, "the id of a token", node);
    }
  }

  private RlhfException wrong(String key, String allowed, JsonNode found) {
    return wrong(file, key, allowed, found);
  }

  /** An error that names the place and what may stand there. */
  static RlhfException wrong(Path file, String key, String allowed, JsonNode found) {
    String text = found.isMissingNode() ? "nothing" : found.toString();
    return RlhfException.input(
        "%s: %s must be %s, found %s"
            .formatted(
                file, key, allowed, text.length() > 80 ? text.substring(0, 80) + "…" : text));
  }
}
