package org.rlhf4j.core.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.testing.TestTokenizers;

class TokenizerTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path folder;

  @Test
  void encodesBytesBehindBos() throws IOException {
    try (Tokenizer tokenizer = Tokenizer.load(TestTokenizers.bytes(folder))) {
      assertArrayEquals(new int[] {256, 'H', 'i', 0xC3, 0xA9}, tokenizer.encode("Hié"));
      assertArrayEquals(new int[] {'H', 'i'}, tokenizer.encodePlain("Hi"));
      assertEquals(259, tokenizer.vocabularySize());
      assertEquals("</s>", tokenizer.eosText().orElseThrow());
      assertEquals(258, tokenizer.padId().orElseThrow());
      assertTrue(tokenizer.unkId().isEmpty());
    }
  }

  @Test
  void textOfAnyLengthStaysWhole() throws IOException {
    try (Tokenizer tokenizer = Tokenizer.load(TestTokenizers.bytes(folder))) {
      assertEquals(3000, tokenizer.encodePlain("a".repeat(3000)).length);
    }
  }

  @Test
  void offsetsCountInUtf16() throws IOException {
    try (Tokenizer tokenizer = Tokenizer.load(TestTokenizers.bytes(folder))) {
      // U+1F600 is four bytes and two UTF-16 units.
      EncodedText encoded = tokenizer.encodeWithOffsets("\uD83D\uDE00x");
      assertArrayEquals(new int[] {-1, 0, 0, 0, 0, 2}, encoded.starts());
      assertArrayEquals(new int[] {-1, 2, 2, 2, 2, 3}, encoded.ends());
    }
  }

  @Test
  void onlyMarkupGetsSpecialTokens() throws IOException {
    try (Tokenizer tokenizer = Tokenizer.load(TestTokenizers.bytes(folder))) {
      EncodedText encoded =
          tokenizer.encode(List.of(Segment.text("</s>", true), Segment.markup("</s>!", false)));
      assertArrayEquals(new int[] {256, '<', '/', 's', '>', 257, '!'}, encoded.ids());
      assertArrayEquals(new int[] {-1, 0, 1, 2, 3, 4, 8}, encoded.starts());
      assertArrayEquals(new int[] {-1, 1, 2, 3, 4, 8, 9}, encoded.ends());
      assertEquals("<s></s></s>!", tokenizer.decodeAll(encoded.ids()));
      assertEquals("</s>!", tokenizer.decode(encoded.ids()));
    }
  }

  @Test
  void streamWaitsForWholeCharacters() throws IOException {
    try (Tokenizer tokenizer = Tokenizer.load(TestTokenizers.bytes(folder))) {
      TokenStream stream = tokenizer.stream();
      assertEquals("a", stream.push('a'));
      assertEquals("", stream.push(0xC3));
      assertEquals("é", stream.push(0xA9));
      assertEquals("", stream.push(257));
      assertEquals("", stream.push(0xE4));
      assertEquals("\uFFFD", stream.finish());
      assertEquals("", stream.finish());
    }
  }

  @Test
  void missingFileIsNamed() {
    RlhfException missing =
        assertThrows(RlhfException.class, () -> Tokenizer.load(folder.resolve("none")));
    assertEquals(ExitCode.INPUT, missing.exitCode());
    assertTrue(
        missing.getMessage().contains("tokenizer.json, tokenizer.model"), missing.getMessage());
    assertFalse(Tokenizer.existsIn(folder));
  }

  @Test
  void brokenFilesAreNamed() throws IOException {
    Path file = folder.resolve("tokenizer.json");
    for (String content :
        List.of("{\"model\": {", "[]", "{}", "{\"model\": {\"type\": \"No\", \"vocab\": {}}}")) {
      Files.writeString(file, content);
      RlhfException e = assertThrows(RlhfException.class, () -> Tokenizer.load(folder), content);
      assertEquals(ExitCode.INPUT, e.exitCode());
      assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
      assertFalse(e.getMessage().contains("\n"), e.getMessage());
    }
    TestTokenizers.bytes(folder);
    Files.writeString(folder.resolve("tokenizer_config.json"), "{");
    RlhfException e = assertThrows(RlhfException.class, () -> Tokenizer.load(folder));
    assertTrue(e.getMessage().contains("tokenizer_config.json"), e.getMessage());
  }

  @Test
  void specialTokenMayBeAnObjectOrStandInTheMapFile() throws IOException {
    TestTokenizers.bytes(folder);
    Files.writeString(
        folder.resolve("tokenizer_config.json"),
        "{\"eos_token\": {\"__type\": \"AddedToken\", \"content\": \"</s>\"}, \"bos_token\": null}");
    Files.writeString(folder.resolve("special_tokens_map.json"), "{\"pad_token\": \"<pad>\"}");
    try (Tokenizer tokenizer = Tokenizer.load(folder)) {
      assertEquals(257, tokenizer.eosId().orElseThrow());
      assertEquals(258, tokenizer.padId().orElseThrow());
      assertTrue(tokenizer.bosId().isEmpty());
    }
  }

  private ObjectNode bytesTokenizer() throws IOException {
    TestTokenizers.bytes(folder);
    return (ObjectNode) JSON.readTree(folder.resolve("tokenizer.json").toFile());
  }

  private Tokenizer load(ObjectNode tokenizer, String config) throws IOException {
    Files.writeString(folder.resolve("tokenizer.json"), tokenizer.toString());
    Files.writeString(folder.resolve("tokenizer_config.json"), config);
    return Tokenizer.load(folder);
  }

  private void refused(ObjectNode tokenizer, String config, String... words) {
    RlhfException e = assertThrows(RlhfException.class, () -> load(tokenizer, config).close());
    assertEquals(ExitCode.INPUT, e.exitCode());
    for (String word : words) {
      assertTrue(e.getMessage().contains(word), e.getMessage());
    }
  }

  @Test
  void idsMustBeWithoutHolesAndDoubles() throws IOException {
    ObjectNode hole = bytesTokenizer();
    ((ObjectNode) hole.at("/model/vocab")).remove("a");
    refused(hole, "{}", "tokenizer.json", "no token has the id 97");
    ObjectNode twice = bytesTokenizer();
    ((ObjectNode) twice.at("/model/vocab")).put("a", 98);
    refused(twice, "{}", "tokenizer.json", "'a'", "'b'", "one id, 98");
    ObjectNode disagreeing = bytesTokenizer();
    ((ObjectNode) disagreeing.at("/added_tokens/0")).put("id", 100);
    refused(disagreeing, "{}", "'<s>'", "100", "256");
    ObjectNode beyond = bytesTokenizer();
    ((ObjectNode) beyond.at("/model/vocab")).put("a", 1_000_000_000);
    refused(beyond, "{}", "no token has the id 97");
    ObjectNode text = bytesTokenizer();
    ((ObjectNode) text.at("/model/vocab")).put("a", "97");
    refused(text, "{}", "model.vocab.a", "97");
  }

  /** Each of these would end the process if the engine met it. */
  @Test
  void whatTheEngineCannotBearIsRefused() throws IOException {
    ObjectNode template = bytesTokenizer();
    ((ObjectNode) template.at("/post_processor/special_tokens")).removeAll();
    refused(template, "{}", "post_processor.single", "SpecialToken");
    ObjectNode second = bytesTokenizer();
    ((ObjectNode) second.at("/post_processor/single/1/Sequence")).put("id", "B");
    refused(second, "{}", "post_processor.single", "Sequence [A]");
    ObjectNode map = bytesTokenizer();
    map.putObject("normalizer").put("type", "Precompiled").put("precompiled_charsmap", "AAAA");
    refused(map, "{}", "normalizer.precompiled_charsmap", "corrupt");
    ObjectNode strip = bytesTokenizer();
    strip
        .putObject("decoder")
        .put("type", "Strip")
        .put("content", " ")
        .put("start", 1)
        .put("stop", 1);
    refused(strip, "{}", "decoder.stop", "must be 0");
    ObjectNode kind = bytesTokenizer();
    kind.putObject("pre_tokenizer").put("type", "Splitter");
    refused(kind, "{}", "pre_tokenizer.type", "Splitter", "WhitespaceSplit");
  }

  @Test
  void wrongTypesAreNamed() throws IOException {
    ObjectNode merges = bytesTokenizer();
    ((ObjectNode) merges.path("model")).putArray("merges").add("a zz");
    refused(merges, "{}", "model.merges[0]", "'zz'");
    ObjectNode random = bytesTokenizer();
    ((ObjectNode) random.path("model")).put("dropout", 0.1);
    refused(random, "{}", "model.dropout", "0.1");
    ObjectNode flag = bytesTokenizer();
    ((ObjectNode) flag.at("/added_tokens/1")).put("special", "yes");
    refused(flag, "{}", "added_tokens[1].special", "true or false");
    ObjectNode model = bytesTokenizer();
    ((ObjectNode) model.path("model")).put("type", "Bigram");
    refused(model, "{}", "model.type", "Bigram", "BPE, Unigram, WordLevel or WordPiece");
    refused(
        bytesTokenizer(),
        "{\"added_tokens_decoder\": {\"259\": {\"content\": \"\"}}}",
        "tokenizer_config.json",
        "added_tokens_decoder.259");
  }

  @Test
  void bothStylesOfTheConfigNameSpecialTokens() throws IOException {
    ObjectNode tokenizer = bytesTokenizer();
    for (String name : List.of("<a>", "<b>", "<c>")) {
      SentencePieceConverter.addToken(
          (ArrayNode) tokenizer.path("added_tokens"),
          256 + tokenizer.path("added_tokens").size(),
          name,
          false);
    }
    for (String config :
        List.of(
            "{\"additional_special_tokens\": [\"<a>\", {\"content\": \"<b>\"}]}",
            "{\"extra_special_tokens\": [\"<a>\", \"<b>\"]}",
            "{\"extra_special_tokens\": {\"first\": \"<a>\", \"second\": \"<b>\"}}",
            "{\"added_tokens_decoder\": {\"259\": {\"content\": \"<a>\", \"special\": true},"
                + " \"260\": {\"content\": \"<b>\", \"special\": true}}}")) {
      try (Tokenizer tokens = load(tokenizer, config)) {
        assertArrayEquals(
            new int[] {'<', 'a', '>', '<', 'b', '>', 261}, tokens.encodePlain("<a><b><c>"));
        assertArrayEquals(
            new int[] {256, 259, 260, 261}, tokens.encodeParsingSpecials("<a><b><c>").ids());
        assertEquals("<c>", tokens.decode(new int[] {259, 260, 261}));
      }
    }
  }

  /** Some LLaMA finetunes pad with {@code !}, which must stay usable in texts. */
  @Test
  void aCharacterThatAlsoPadsStaysACharacter() throws IOException {
    for (boolean listed : new boolean[] {false, true}) {
      ObjectNode tokenizer = bytesTokenizer();
      if (listed) {
        SentencePieceConverter.addToken((ArrayNode) tokenizer.path("added_tokens"), '!', "!", true);
      }
      try (Tokenizer tokens = load(tokenizer, "{\"pad_token\": \"!\"}")) {
        assertArrayEquals(new int[] {'a', '!'}, tokens.encodePlain("a!"));
        assertEquals('!', tokens.padId().orElseThrow());
        assertEquals("a!", tokens.decode(new int[] {'a', '!'}));
      }
    }
  }

  /** Merges may lead to a special token's name; a user's text must not get there. */
  @Test
  void mergesDoNotMakeSpecialTokens() throws IOException {
    ObjectNode tokenizer = bytesTokenizer();
    ((ObjectNode) tokenizer.at("/model/vocab")).put("ab", 259).put("abc", 260);
    ((ObjectNode) tokenizer.path("model")).putArray("merges").add("a b").add("ab c");
    try (Tokenizer tokens = load(tokenizer, "{\"eos_token\": \"abc\"}")) {
      assertArrayEquals(new int[] {259, 'c'}, tokens.encodePlain("abc"));
      assertArrayEquals(new int[] {256, 260}, tokens.encodeParsingSpecials("abc").ids());
    }
  }

  @Test
  void halfASurrogatePairIsReplaced() throws IOException {
    try (Tokenizer tokens = load(bytesTokenizer(), "{}")) {
      EncodedText encoded = tokens.encodeWithOffsets("x\uD83Dy");
      assertArrayEquals(new int[] {256, 'x', 0xEF, 0xBF, 0xBD, 'y'}, encoded.ids());
      assertArrayEquals(new int[] {-1, 0, 1, 1, 1, 2}, encoded.starts());
    }
  }

  /** The file of the first GPT-2 does not say what its model is. */
  @Test
  void oldFilesMayLeaveOutTheKindOfTheModel() throws IOException {
    ObjectNode tokenizer = bytesTokenizer();
    ((ObjectNode) tokenizer.path("model")).remove("type");
    try (Tokenizer tokens = load(tokenizer, "{}")) {
      assertArrayEquals(new int[] {256, 'H', 'i'}, tokens.encode("Hi"));
    }
  }
}
