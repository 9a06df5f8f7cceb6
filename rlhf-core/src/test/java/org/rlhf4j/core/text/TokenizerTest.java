package org.rlhf4j.core.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
        missing.getMessage().contains("tokenizer.json or tokenizer.model"), missing.getMessage());
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
}
