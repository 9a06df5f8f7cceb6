package org.rlhf4j.core.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import org.rlhf4j.core.RlhfException;

/** Looks at the content of a tokenizer.json before the engine does. */
final class TokenizerJson {
  private TokenizerJson() {}

  static void check(ObjectNode tokenizer, Path file) {
  }
  static String[] mergeParts(JsonNode merge) {
    return merge.isTextual() ? merge.asText().split(" ", 2) : new String[] {merge.path(0).asText(), merge.path(1).asText()};
  }
  static ObjectNode addedToken(JsonNode n, Path file, String key) { return n.deepCopy(); }
  static int id(String s, Path file, String key) { return Integer.parseInt(s); }
  static int id(JsonNode s, Path file, String key) { return s.asInt(); }
}
