package org.rlhf4j.core.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.rlhf4j.core.testing.SentencePieceBytes.BYTE;
import static org.rlhf4j.core.testing.SentencePieceBytes.CONTROL;
import static org.rlhf4j.core.testing.SentencePieceBytes.NORMAL;
import static org.rlhf4j.core.testing.SentencePieceBytes.UNKNOWN;
import static org.rlhf4j.core.testing.SentencePieceBytes.UNUSED;
import static org.rlhf4j.core.testing.SentencePieceBytes.USER_DEFINED;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.testing.SentencePieceBytes;

/** Models of a few pieces, whose ids can be told by hand. */
class SentencePieceTest {
  @TempDir Path folder;

  /** Ids: a 3, b 4, U+2581 5, ab 6, U+2581 with a 7, the user's symbol 8. */
  private static SentencePieceBytes small() {
    return SentencePieceBytes.bpe()
        .piece("a", -10, NORMAL)
        .piece("b", -11, NORMAL)
        .piece("\u2581", -12, NORMAL)
        .piece("ab", -1, NORMAL)
        .piece("\u2581a", 0, NORMAL)
        .piece("<u>", 0, USER_DEFINED);
  }

  private Tokenizer load(SentencePieceBytes model, String config) throws IOException {
    Files.write(folder.resolve("tokenizer.model"), model.toBytes());
    Files.writeString(folder.resolve("tokenizer_config.json"), config);
    return Tokenizer.load(folder);
  }

  @Test
  void mergesTheHighestScoreFirst() throws IOException {
    try (Tokenizer tokenizer = load(small(), "{}")) {
      assertArrayEquals(new int[] {1, 7, 4, 5, 4, 6}, tokenizer.encode("ab bab"));
      assertEquals("ab bab", tokenizer.decode(new int[] {1, 7, 4, 5, 4, 6}));
      assertArrayEquals(new int[] {5, 8, 3, 0, 4}, tokenizer.encodePlain("<u>axyb"));
      assertEquals("tokenizer.model", tokenizer.origin().getFileName().toString());
      assertEquals(9, tokenizer.vocabularySize());
      assertTrue(Tokenizer.existsIn(folder));
    }
  }

  /** As in vocabularies extended by hand; ids a 3, b 4, c 5, bc 6, ab 7, U+2581 8, abcc 9. */
  @Test
  void ofEqualScoresTheLeftmostPairIsMerged() throws IOException {
    SentencePieceBytes model =
        SentencePieceBytes.bpe()
            .piece("a", -10, NORMAL)
            .piece("b", -11, NORMAL)
            .piece("c", -12, NORMAL)
            .piece("bc", 0, NORMAL)
            .piece("ab", -0f, NORMAL)
            .piece("\u2581", -13, NORMAL)
            .piece("abcc", -1, NORMAL)
            .piece("<u>", 0, USER_DEFINED);
    try (Tokenizer tokenizer = load(model, "{}")) {
      assertArrayEquals(new int[] {8, 7, 5, 8, 6, 7}, tokenizer.encodePlain("abc bcab"));
      // SentencePiece itself makes one unknown token of several unknown characters.
      assertArrayEquals(new int[] {8, 0, 7, 10, 6, 0}, tokenizer.encodePlain("xyab<u>bcz"));
      EncodedText encoded = tokenizer.encodeWithOffsets("abc");
      assertArrayEquals(new int[] {1, 8, 7, 5}, encoded.ids());
      assertArrayEquals(new int[] {-1, 0, 0, 2}, encoded.starts());
      assertArrayEquals(new int[] {-1, 1, 2, 3}, encoded.ends());
      assertEquals("abc bcab", tokenizer.decode(new int[] {8, 7, 5, 8, 6, 7}));
      int[] beyond = {7, tokenizer.vocabularySize()};
      assertEquals("ab", tokenizer.decode(beyond));
      assertEquals("ab", tokenizer.decodeAll(beyond));
    }
  }

  /** Against a search for the best pair from the left after every merge. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void equalScoresInLongTextsToo(int seed) throws IOException {
    Random random = new Random(seed);
    Map<String, Float> scores = new LinkedHashMap<>();
    List.of("\u2581", "a", "b", "c").forEach(letter -> scores.put(letter, -9f));
    SentencePieceBytes model = SentencePieceBytes.bpe();
    while (scores.size() < 24) {
      List<String> pieces = List.copyOf(scores.keySet());
      String joint =
          pieces.get(random.nextInt(pieces.size())) + pieces.get(random.nextInt(pieces.size()));
      scores.putIfAbsent(joint, (float) -random.nextInt(3));
    }
    scores.forEach((text, score) -> model.piece(text, score, NORMAL));
    List<String> order = List.copyOf(scores.keySet());
    try (Tokenizer tokenizer = load(model, "{}")) {
      for (int i = 0; i < 200; i++) {
        StringBuilder text = new StringBuilder();
        for (int j = random.nextInt(40); j >= 0; j--) {
          text.append("abc".charAt(random.nextInt(3)));
        }
        int[] expected =
            slowlyMerged("\u2581" + text, scores).stream().mapToInt(order::indexOf).toArray();
        Arrays.setAll(expected, at -> expected[at] + 3);
        assertArrayEquals(expected, tokenizer.encodePlain(text.toString()), text.toString());
      }
    }
  }

  private static List<String> slowlyMerged(String text, Map<String, Float> scores) {
    List<String> parts = new ArrayList<>(List.of(text.split("")));
    while (true) {
      int best = -1;
      for (int i = 0; i + 1 < parts.size(); i++) {
        Float score = scores.get(parts.get(i) + parts.get(i + 1));
        if (score != null
            && (best < 0 || score > scores.get(parts.get(best) + parts.get(best + 1)))) {
          best = i;
        }
      }
      if (best < 0) {
        return parts;
      }
      parts.set(best, parts.get(best) + parts.remove(best + 1));
    }
  }

  @Test
  void flagsOfTheConfigDecideAboutBosAndEos() throws IOException {
    try (Tokenizer tokenizer =
        load(small(), "{\"add_bos_token\": false, \"add_eos_token\": true}")) {
      EncodedText encoded = tokenizer.encodeWithOffsets("b");
      assertArrayEquals(new int[] {5, 4, 2}, encoded.ids());
      assertArrayEquals(new int[] {0, 0, -1}, encoded.starts());
      assertArrayEquals(new int[] {1, 1, -1}, encoded.ends());
    }
    String unknownClass = "{\"tokenizer_class\": \"T5Tokenizer\"";
    refused(small(), unknownClass + "}", "T5Tokenizer", "add_bos_token");
    try (Tokenizer tokenizer =
        load(small(), unknownClass + ", \"add_bos_token\": false, \"add_eos_token\": false}")) {
      assertArrayEquals(new int[] {5, 4}, tokenizer.encode("b"));
    }
    refused(small(), "{\"add_bos_token\": 1}", "add_bos_token", "true or false");
  }

  @Test
  void legacyPutsASpaceBeforeEverySection() throws IOException {
    try (Tokenizer tokenizer = load(small(), "{\"legacy\": true}")) {
      assertArrayEquals(
          new int[] {1, 5, 4, 2, 5, 4}, tokenizer.encodeParsingSpecials("b</s>b").ids());
    }
    try (Tokenizer tokenizer = load(small(), "{\"legacy\": false}")) {
      assertArrayEquals(new int[] {1, 5, 4, 2, 4}, tokenizer.encodeParsingSpecials("b</s>b").ids());
      assertArrayEquals(new int[] {1, 2, 4}, tokenizer.encodeParsingSpecials("</s>b").ids());
    }
    try (Tokenizer tokenizer = load(small(), "{\"legacy\": false, \"add_prefix_space\": false}")) {
      assertArrayEquals(new int[] {1, 4}, tokenizer.encode("b"));
    }
  }

  @Test
  void addedTokensOfEitherFileGetTheirIds() throws IOException {
    String decoder =
        "{\"added_tokens_decoder\": {\"10\": {\"content\": \"[x y]\", \"special\": false},"
            + " \"9\": {\"content\": \"[PAD]\", \"special\": true}}, \"pad_token\": \"[PAD]\"}";
    try (Tokenizer tokenizer = load(small(), decoder)) {
      checkAdded(tokenizer);
    }
    // As transformers wrote it before it had added_tokens_decoder.
    Files.writeString(folder.resolve("added_tokens.json"), "{\"[PAD]\": 9, \"[x y]\": 10}");
    Files.writeString(folder.resolve("special_tokens_map.json"), "{\"pad_token\": \"[PAD]\"}");
    try (Tokenizer tokenizer = load(small(), "{}")) {
      checkAdded(tokenizer);
    }
  }

  private static void checkAdded(Tokenizer tokenizer) {
    assertEquals(11, tokenizer.vocabularySize());
    assertEquals(9, tokenizer.padId().orElseThrow());
    // What is special is markup only, another added token counts in every text.
    assertArrayEquals(new int[] {5, 4, 10, 5, 4}, tokenizer.encodePlain("b[x y]b"));
    assertFalse(Arrays.stream(tokenizer.encodePlain("[PAD]")).anyMatch(id -> id == 9));
    assertArrayEquals(new int[] {1, 9}, tokenizer.encodeParsingSpecials("[PAD]").ids());
    assertEquals("b[x y] b", tokenizer.decode(new int[] {5, 4, 10, 9, 5, 4}));
    assertEquals("[x y][PAD]", tokenizer.decodeAll(new int[] {10, 9}));
  }

  @Test
  void addedTokensMustFitTheModel() throws IOException {
    refused(
        small(),
        "{\"added_tokens_decoder\": {\"11\": {\"content\": \"<new>\"}}}",
        "no token has the id 9");
    refused(small(), "{\"added_tokens_decoder\": {\"4\": {\"content\": \"<new>\"}}}", "one id, 4");
    refused(
        small(), "{\"added_tokens_decoder\": {\"9\": {\"content\": \"ab\"}}}", "'ab'", "9", "6");
    refused(
        small(),
        "{\"added_tokens_decoder\": {\"9\": {\"content\": \"<m>\", \"lstrip\": true}}}",
        "lstrip");
    refused(small(), "{\"added_tokens_decoder\": {\"x\": {\"content\": \"<m>\"}}}", "decoder.x");
    refused(small(), "{\"added_tokens_decoder\": [1]}", "added_tokens_decoder");
  }

  @Test
  void brokenModelsAreNamed() throws IOException {
    byte[] whole = small().toBytes();
    Files.write(folder.resolve("tokenizer.model"), Arrays.copyOf(whole, whole.length - 3));
    RlhfException cut = assertThrows(RlhfException.class, () -> Tokenizer.load(folder));
    assertTrue(cut.getMessage().contains("cut off"), cut.getMessage());

    SentencePieceBytes wordModel = small().message(2, new SentencePieceBytes().number(3, 3));
    refused(wordModel, "{}", "model_type WORD", "UNIGRAM and BPE");
    refused(small().message(2, new SentencePieceBytes().number(3, 9)), "{}", "model_type 9");
    refused(small().message(2, new SentencePieceBytes().number(24, 1)), "{}", "as_suffix");
    refused(small().message(3, new SentencePieceBytes().number(5, 0)), "{}", "escape_white");
    refused(small().message(2, new SentencePieceBytes().number(35, 1)), "{}", "256 byte pieces");
    refused(small().number(1, 5), "{}", "field 1", "wire type");
    refused(small().piece("a", 0, NORMAL), "{}", "piece 9", "twice");
    refused(small().piece("", 0, NORMAL), "{}", "piece 9", "empty");
    refused(small().piece("c", Float.NaN, NORMAL), "{}", "piece 9", "NaN");
    refused(small().piece("c", 0, 7), "{}", "piece 9", "type 7");
    refused(small().piece("c", 0, UNUSED), "{}", "piece 9", "UNUSED");
    refused(small().piece("<?>", 0, UNKNOWN), "{}", "0 and 9");
    refused(small().piece("<0x0A>", 0, BYTE), "{}", "byte_fallback is off");
    refused(new SentencePieceBytes().piece("a", 0, CONTROL), "{}", "unknown");
    refused(new SentencePieceBytes(), "{}", "no pieces");
    refused(
        small().message(1, new SentencePieceBytes().bytes(1, new byte[] {(byte) 0xFF})),
        "{}",
        "piece 9",
        "UTF-8");
    for (byte[] map :
        List.of(
            new byte[] {9}, new byte[] {8, 0, 0, 0, 1, 2}, new byte[] {4, 0, 0, 0, 1, 1, 1, 1})) {
      refused(
          small().message(3, new SentencePieceBytes().bytes(2, map)),
          "{}",
          "precompiled_charsmap",
          "corrupt");
    }
  }

  private void refused(SentencePieceBytes model, String config, String... words) {
    RlhfException e = assertThrows(RlhfException.class, () -> load(model, config).close());
    assertEquals(ExitCode.INPUT, e.exitCode());
    assertTrue(e.getMessage().startsWith(folder.toString()), e.getMessage());
    for (String word : words) {
      assertTrue(e.getMessage().contains(word), e.getMessage());
    }
  }
}
