package org.rlhf4j.core.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Names that tokens go by inside the engine, so that no text is taken for them. A name is eight
 * characters of a plane for private use, drawn anew each time: 128 random bits that no text holds
 * by chance.
 */
final class SecretNames {
  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

  /**
   * A token that goes by a secret name.
   *
   * @param content its own name
   * @param secret what the engine knows it by
   * @param inAnyText whether it is found in every text and not only in markup
   */
  record Hidden(String content, String secret, boolean inAnyText) {}

  private final SecureRandom random = new SecureRandom();
  private final Map<String, Hidden> byContent = new HashMap<>();
  private final Map<Character, List<Hidden>> byFirstCharacter = new HashMap<>();

  /** A name of no token; it reveals itself as nothing. */
  String drawBoundary() {
    Hidden boundary = new Hidden("", draw(), false);
    byContent.put("", boundary);
    return boundary.secret();
  }

  private String draw() {
    StringBuilder name = new StringBuilder();
    for (int i = 0; i < 8; i++) {
      name.appendCodePoint(0xF0000 + random.nextInt(0xFFFE));
    }
    return name.toString();
  }

  /** Gives a token a secret name. */
  void hide(String content, boolean inAnyText) {
    Hidden hidden = new Hidden(content, draw(), inAnyText);
    byContent.put(content, hidden);
    List<Hidden> alike =
        byFirstCharacter.computeIfAbsent(content.charAt(0), first -> new ArrayList<>());
    alike.add(hidden);
    alike.sort(Comparator.comparingInt((Hidden other) -> -other.content().length()));
  }

  /** The longest hidden token that begins here, or null. */
  Hidden at(String text, int index, boolean markup) {
    for (Hidden hidden : byFirstCharacter.getOrDefault(text.charAt(index), List.of())) {
      if ((markup || hidden.inAnyText()) && text.startsWith(hidden.content(), index)) {
        return hidden;
      }
    }
    return null;
  }

  /** A text of the engine with the tokens' own names. */
  String reveal(String text) {
    // The engine's text has such characters only where a secret name stands.
    if (text.codePoints().noneMatch(codePoint -> codePoint >= 0xF0000)) {
      return text;
    }
    String revealed = text;
    for (Hidden hidden : byContent.values()) {
      revealed = revealed.replace(hidden.secret(), hidden.content());
    }
    return revealed;
  }

  /** Puts the secret names into the description of a tokenizer. */
  void writeInto(ObjectNode tokenizer) {
    for (JsonNode token : tokenizer.withArray("added_tokens")) {
      Hidden hidden = byContent.get(token.path("content").asText());
      if (hidden != null) {
        // Normalizers are not meant for secret names.
        ((ObjectNode) token).put("content", hidden.secret()).put("normalized", false);
      }
    }
    ObjectNode model = (ObjectNode) tokenizer.path("model");
    if (model.path("unk_token").isTextual()) {
      model.put("unk_token", name(model.path("unk_token").asText()));
    }
    model.set("vocab", renamed(model.path("vocab")));
    if (model.path("merges").isArray()) {
      model.set("merges", ordinaryMerges(model.path("merges")));
    }
    tokenizer.set("post_processor", renamed(tokenizer.path("post_processor")));
  }

  /** Merges that neither take nor make a hidden token: text must not lead to one. */
  private ArrayNode ordinaryMerges(JsonNode merges) {
    ArrayNode ordinary = JSON.arrayNode(merges.size());
    for (JsonNode merge : merges) {
      String[] parts = TokenizerJson.mergeParts(merge);
      if (!byContent.containsKey(parts[0])
          && !byContent.containsKey(parts[1])
          && !byContent.containsKey(parts[0] + parts[1])) {
        ordinary.add(merge);
      }
    }
    return ordinary;
  }

  private String name(String content) {
    Hidden hidden = byContent.get(content);
    return hidden == null ? content : hidden.secret();
  }

  private JsonNode renamed(JsonNode node) {
    if (node.isTextual()) {
      return JSON.textNode(name(node.asText()));
    }
    if (node.isArray()) {
      ArrayNode copy = JSON.arrayNode(node.size());
      node.forEach(element -> copy.add(renamed(element)));
      return copy;
    }
    if (node.isObject()) {
      ObjectNode copy = JSON.objectNode();
      node.properties().forEach(entry -> copy.set(name(entry.getKey()), renamed(entry.getValue())));
      return copy;
    }
    return node.isMissingNode() ? JSON.nullNode() : node;
  }
}
