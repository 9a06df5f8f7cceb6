package org.rlhf4j.core.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.testing.TestTokenizers;

/** {@code vocab.json} and {@code merges.txt}: the 256 bytes, ids from 256 on by hand. */
class BytePairFilesTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** U+0120 stands for a blank. */
  private static final String MERGES = "#version: 0.2\nb c\na b\n\u0120 a\n\n";

  @TempDir Path folder;
  private ObjectNode vocabulary;

  @BeforeEach
  void bytes() throws IOException {
    Path bytes = TestTokenizers.bytes(folder.resolve("bytes"));
    vocabulary =
        (ObjectNode) JSON.readTree(bytes.resolve("tokenizer.json").toFile()).at("/model/vocab");
    vocabulary.put("<s>", 256).put("<|endoftext|>", 257).remove("</s>");
    vocabulary.put("bc", 258).put("ab", 259).put("\u0120a", 260).remove("<pad>");
  }

  private Tokenizer load(String merges, String config) throws IOException {
    Files.writeString(folder.resolve("vocab.json"), vocabulary.toString());
    Files.writeString(folder.resolve("merges.txt"), merges);
    Files.writeString(folder.resolve("tokenizer_config.json"), config);
    return Tokenizer.load(folder);
  }

  private void refused(String merges, String config, String expected) {
    RlhfException e = assertThrows(RlhfException.class, () -> load(merges, config).close());
    assertEquals(ExitCode.INPUT, e.exitCode());
    assertTrue(e.getMessage().contains(expected), e.getMessage());
  }

  @Test
  void theFirstLineMergesFirst() throws IOException {
    try (Tokenizer tokenizer = load(MERGES, "{}")) {
      assertEquals(261, tokenizer.vocabularySize());
      assertArrayEquals(new int[] {'a', 258, 260, 259}, tokenizer.encodePlain("abc a" + "ab"));
      assertEquals("abc aab", tokenizer.decode(new int[] {'a', 258, 260, 259}));
      assertEquals(257, tokenizer.eosId().orElseThrow());
      assertTrue(tokenizer.padId().isEmpty());
      assertArrayEquals(new int[] {'<', '|'}, tokenizer.encodePlain("<|"));
      assertArrayEquals(new int[] {257}, tokenizer.encodeParsingSpecials("<|endoftext|>").ids());
    }
  }

  /** As OPT's configuration has it. */
  @Test
  void theConfigurationMayAskForBosAndABlankInFront() throws IOException {
    String config =
        """
        {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true, "add_prefix_space": true,
         "bos_token": {"__type": "AddedToken", "content": "<s>"}, "eos_token": null}
        """;
    try (Tokenizer tokenizer = load(MERGES, config)) {
      assertArrayEquals(new int[] {256, 260, 'c'}, tokenizer.encode("ac"));
      assertTrue(tokenizer.eosId().isEmpty());
    }
  }

  @Test
  void brokenVocabulariesAreNamed() throws IOException {
    vocabulary.remove("a");
    refused("", "{}", "vocab.json: no token has the id 97");
    vocabulary.put("a", 98);
    refused("", "{}", "have one id, 98");
    vocabulary.put("a", "97");
    refused("", "{}", "model.vocab.a must be an id from 0, found \"97\"");
    Files.writeString(folder.resolve("vocab.json"), "{\"a\": 0, \"a\": 1}");
    RlhfException e = assertThrows(RlhfException.class, () -> Tokenizer.load(folder));
    assertTrue(e.getMessage().contains("Duplicate field 'a'"), e.getMessage());
  }

  @Test
  void brokenMergesAreNamedByTheirLine() throws IOException {
    refused("b c\nq zz", "{}", "merges.txt: line 2: 'q zz' needs the token 'zz', which vocab.json");
    refused("#version: 0.2\na c", "{}", "line 2: 'a c' needs the token 'ac'");
    refused("b c\n\nb c", "{}", "merges.txt: line 3: 'b c' is there twice");
    refused("a b c", "{}", "line 1 must be two tokens with a space between them, found 'a b c'");
    load("", "{}").close();
    Files.write(folder.resolve("merges.txt"), "a é".getBytes(StandardCharsets.ISO_8859_1));
    RlhfException e = assertThrows(RlhfException.class, () -> Tokenizer.load(folder));
    assertTrue(e.getMessage().contains("merges.txt: cannot be read as UTF-8"), e.getMessage());
  }

  /** Qwen's files have the same names, but it cuts texts into other words. */
  @Test
  void onlyTheWordsOfGpt2AreKnown() {
    refused(
        MERGES,
        "{\"tokenizer_class\": \"Qwen2Tokenizer\", \"add_bos_token\": false}",
        "tokenizer_config.json: tokenizer_class = Qwen2Tokenizer is not supported with vocab.json");
  }

  @Test
  void oneFileAloneIsNoTokenizer() throws IOException {
    load(MERGES, "{}").close();
    Files.delete(folder.resolve("merges.txt"));
    assertFalse(Tokenizer.existsIn(folder));
    RlhfException e = assertThrows(RlhfException.class, () -> Tokenizer.load(folder));
    assertTrue(e.getMessage().contains("vocab.json with merges.txt"), e.getMessage());
  }
}
