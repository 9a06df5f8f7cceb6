package org.rlhf4j.core.text;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * The parts of a tokenizer.json around its model, with what the engine knows of them. Keys that are
 * not listed mean nothing to it.
 */
final class TokenizerParts {
  /** One of the parts. */
  enum Part {
    NORMALIZER("normalizer"),
    PRE_TOKENIZER("pre_tokenizer"),
    POST_PROCESSOR("post_processor"),
    DECODER("decoder");

    private final String key;

    Part(String key) {
      this.key = key;
    }

    /** Its key in the file. */
    String key() {
      return key;
    }
  }

  private static final Set<String> BEHAVIORS =
      Set.of("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous");

  /** What may stand behind a key. */
  private enum Value {
    FLAG("true or false"),
    TEXT("a string"),
    CHARACTER("one character"),
    /** The engine counts below zero in texts that are shorter. */
    ZERO("0"),
    COUNT("a whole number from 0"),
    LENGTH("a whole number from 1"),
    PATTERN("an object with String or Regex, not empty"),
    BEHAVIOR("one of " + new TreeSet<>(BEHAVIORS)),
    CHARS_MAP("a charsmap in base64"),
    /** A list of further entries of the same part. */
    PARTS("a list"),
    /** Looked at by {@link TokenizerJson}. */
    ANY("");

    private final String allowed;

    Value(String allowed) {
      this.allowed = allowed;
    }
  }

  private static final Map<String, Value> NOTHING = Map.of();
  private static final Map<String, Value> BYTE_LEVEL =
      Map.of("add_prefix_space", Value.FLAG, "trim_offsets", Value.FLAG, "use_regex", Value.FLAG);
  private static final Map<String, Value> METASPACE =
      Map.of(
          "replacement", Value.CHARACTER,
          "str_rep", Value.TEXT,
          "add_prefix_space", Value.FLAG,
          "prepend_scheme", Value.TEXT,
          "split", Value.FLAG);
  private static final Map<String, Value> REPLACE =
      Map.of("pattern", Value.PATTERN, "content", Value.TEXT);
  private static final Map<String, Value> TWO_TOKENS =
      Map.of(
          "sep", Value.ANY,
          "cls", Value.ANY,
          "trim_offsets", Value.FLAG,
          "add_prefix_space", Value.FLAG);

  private static final Map<Part, Map<String, Map<String, Value>>> KNOWN =
      Map.of(
          Part.NORMALIZER,
          Map.ofEntries(
              Map.entry(
                  "BertNormalizer",
                  Map.of(
                      "clean_text", Value.FLAG,
                      "handle_chinese_chars", Value.FLAG,
                      "strip_accents", Value.FLAG,
                      "lowercase", Value.FLAG)),
              Map.entry("Strip", Map.of("strip_left", Value.FLAG, "strip_right", Value.FLAG)),
              Map.entry("StripAccents", NOTHING),
              Map.entry("NFC", NOTHING),
              Map.entry("NFD", NOTHING),
              Map.entry("NFKC", NOTHING),
              Map.entry("NFKD", NOTHING),
              Map.entry("Lowercase", NOTHING),
              Map.entry("Nmt", NOTHING),
              Map.entry("ByteLevel", NOTHING),
              Map.entry("Precompiled", Map.of("precompiled_charsmap", Value.CHARS_MAP)),
              Map.entry("Replace", REPLACE),
              Map.entry("Prepend", Map.of("prepend", Value.TEXT)),
              Map.entry("Sequence", Map.of("normalizers", Value.PARTS))),
          Part.PRE_TOKENIZER,
          Map.ofEntries(
              Map.entry("BertPreTokenizer", NOTHING),
              Map.entry("ByteLevel", BYTE_LEVEL),
              Map.entry("CharDelimiterSplit", Map.of("delimiter", Value.CHARACTER)),
              Map.entry("Metaspace", METASPACE),
              Map.entry("Whitespace", NOTHING),
              Map.entry("WhitespaceSplit", NOTHING),
              Map.entry("Punctuation", Map.of("behavior", Value.BEHAVIOR)),
              Map.entry("Digits", Map.of("individual_digits", Value.FLAG)),
              Map.entry("UnicodeScripts", NOTHING),
              Map.entry("FixedLength", Map.of("length", Value.LENGTH)),
              Map.entry(
                  "Split",
                  Map.of(
                      "pattern", Value.PATTERN, "behavior", Value.BEHAVIOR, "invert", Value.FLAG)),
              Map.entry("Sequence", Map.of("pretokenizers", Value.PARTS))),
          Part.POST_PROCESSOR,
          Map.of(
              "ByteLevel", BYTE_LEVEL,
              "RobertaProcessing", TWO_TOKENS,
              "BertProcessing", TWO_TOKENS,
              "TemplateProcessing",
                  Map.of("single", Value.ANY, "pair", Value.ANY, "special_tokens", Value.ANY),
              "Sequence", Map.of("processors", Value.PARTS)),
          Part.DECODER,
          Map.of(
              "BPEDecoder", Map.of("suffix", Value.TEXT),
              "ByteLevel", BYTE_LEVEL,
              "WordPiece", Map.of("prefix", Value.TEXT, "cleanup", Value.FLAG),
              "Metaspace", METASPACE,
              "Replace", REPLACE,
              "Fuse", NOTHING,
              "ByteFallback", NOTHING,
              "Strip", Map.of("content", Value.CHARACTER, "start", Value.COUNT, "stop", Value.ZERO),
              "Sequence", Map.of("decoders", Value.PARTS)));

  private final Path file;

  TokenizerParts(Path file) {
    this.file = file;
  }

  /**
   * Checks one part.
   *
   * @param key where it stands, for messages
   * @throws org.rlhf4j.core.RlhfException if it is of no known kind or a value is not allowed
   */
  void check(Part part, JsonNode node, String key) {
    if (node.isMissingNode() || node.isNull()) {
      return;
    }
    JsonNode type = node.path("type");
    Map<String, Value> values = type.isTextual() ? KNOWN.get(part).get(type.asText()) : null;
    if (values == null) {
      throw TokenizerJson.wrong(
          file, key + ".type", "one of " + new TreeSet<>(KNOWN.get(part).keySet()), type);
    }
    values.forEach((name, value) -> checkValue(part, node.path(name), value, key + "." + name));
  }

  private void checkValue(Part part, JsonNode node, Value value, String key) {
    if (value == Value.PARTS) {
      if (!node.isArray()) {
        throw TokenizerJson.wrong(file, key, value.allowed, node);
      }
      for (int i = 0; i < node.size(); i++) {
        if (node.path(i).isNull()) {
          throw TokenizerJson.wrong(file, key + "[" + i + "]", "an object", node.path(i));
        }
        check(part, node.path(i), key + "[" + i + "]");
      }
    } else if (value == Value.CHARS_MAP) {
      checkCharsMap(node, key);
    } else if (!node.isMissingNode() && !node.isNull() && !isAllowed(node, value)) {
      throw TokenizerJson.wrong(file, key, value.allowed, node);
    }
  }

  private static boolean isAllowed(JsonNode node, Value value) {
    return switch (value) {
      case FLAG -> node.isBoolean();
      case TEXT -> node.isTextual();
      case CHARACTER ->
          node.isTextual() && node.asText().codePointCount(0, node.asText().length()) == 1;
      case ZERO -> node.isInt() && node.asInt() == 0;
      case COUNT -> node.isInt() && node.asInt() >= 0;
      case LENGTH -> node.isInt() && node.asInt() >= 1;
      case PATTERN -> {
        JsonNode pattern = node.has("String") ? node.path("String") : node.path("Regex");
        yield node.size() == 1 && pattern.isTextual() && !pattern.asText().isEmpty();
      }
      case BEHAVIOR -> node.isTextual() && BEHAVIORS.contains(node.asText());
      case ANY -> true;
      case PARTS, CHARS_MAP -> throw new IllegalArgumentException(value.name());
    };
  }

  private void checkCharsMap(JsonNode node, String key) {
    byte[] table;
    try {
      table = Base64.getDecoder().decode(node.asText());
    } catch (IllegalArgumentException e) {
      throw TokenizerJson.wrong(file, key, Value.CHARS_MAP.allowed, node);
    }
    CharsMap.of(ByteBuffer.wrap(table), file + ": " + key);
  }
}
