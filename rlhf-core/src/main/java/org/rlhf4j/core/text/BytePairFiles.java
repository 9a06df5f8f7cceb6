package org.rlhf4j.core.text;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.StrictJson;

/**
 * GPT-2's first form of a tokenizer, which OPT still comes with: {@code vocab.json} gives each
 * token its id, {@code merges.txt} has one pair a line, the first to merge first.
 */
final class BytePairFiles {
  static final String VOCABULARY_FILE = "vocab.json";
  static final String MERGES_FILE = "merges.txt";

  private BytePairFiles() {}

  /**
   * The content of a tokenizer.json, without a post-processor.
   *
   * @param prefixSpace whether a text gets a space in front
   */
  static ObjectNode read(Path folder, boolean prefixSpace) {
    ObjectNode tokenizer = JsonNodeFactory.instance.objectNode();
    tokenizer.put("version", "1.0").putNull("normalizer").putNull("post_processor");
    tokenizer.putArray("added_tokens");
    for (String part : List.of("pre_tokenizer", "decoder")) {
      ObjectNode bytes = tokenizer.putObject(part).put("type", "ByteLevel");
      bytes.put("add_prefix_space", prefixSpace).put("trim_offsets", true).put("use_regex", true);
    }
    ObjectNode vocabulary = StrictJson.read(folder.resolve(VOCABULARY_FILE));
    ObjectNode model = tokenizer.putObject("model").put("type", "BPE");
    model.set("vocab", vocabulary);
    ArrayNode merges = model.putArray("merges");
    merges(folder.resolve(MERGES_FILE), vocabulary).forEach(merges::add);
    return tokenizer;
  }

  private static Set<String> merges(Path file, ObjectNode vocabulary) {
    List<String> lines;
    try {
      lines = Files.readAllLines(file, StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw RlhfException.input(file + ": cannot be read as UTF-8: " + e.getMessage(), e);
    }
    Set<String> merges = new LinkedHashSet<>();
    for (int i = 0; i < lines.size(); i++) {
      String line = lines.get(i);
      boolean header = i == 0 && line.startsWith("#version");
      if (!header && !line.isEmpty()) {
        String place = file + ": line " + (i + 1);
        requireKnown(line, vocabulary, place);
        if (!merges.add(line)) {
          throw RlhfException.input(place + ": '" + line + "' is there twice");
        }
      }
    }
    return merges;
  }

  private static void requireKnown(String line, ObjectNode vocabulary, String place) {
    String[] parts = line.split(" ", -1);
    if (parts.length != 2) {
      throw RlhfException.input(
          place + " must be two tokens with a space between them, found '" + line + "'");
    }
    for (String token : List.of(parts[0], parts[1], parts[0] + parts[1])) {
      if (!vocabulary.has(token)) {
        throw RlhfException.input(
            "%s: '%s' needs the token '%s', which %s lacks"
                .formatted(place, line, token, VOCABULARY_FILE));
      }
    }
  }
}
