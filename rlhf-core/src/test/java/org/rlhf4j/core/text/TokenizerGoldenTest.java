package org.rlhf4j.core.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.StreamSupport;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.testing.Shared;

/** Holds the tokenizer to what Hugging Face's own computes. */
class TokenizerGoldenTest {
  private static final List<String> SPECIALS =
      List.of("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "<pad>");

  @ParameterizedTest
  @CsvSource({
    "byte-level-gpt2, v4", "byte-level-gpt2, v5",
    "byte-level-llama3, v4", "byte-level-llama3, v5",
    "byte-fallback-llama, v4", "byte-fallback-llama, v5",
    "byte-fallback-metaspace, v4", "byte-fallback-metaspace, v5"
  })
  void equalsHuggingFace(String name, String version) throws IOException {
    Path folder = Shared.path("golden/tokenizers/" + name);
    JsonNode golden = new ObjectMapper().readTree(folder.resolve("cases.json").toFile());
    try (Tokenizer tokenizer = Tokenizer.load(folder.resolve(version))) {
      assertEquals(golden.path("vocab_size").asInt(), tokenizer.vocabularySize());
      for (JsonNode row : golden.path("cases")) {
        checkCase(tokenizer, row);
      }
      for (JsonNode row : golden.path("streams")) {
        checkStream(tokenizer, row);
      }
    }
  }

  private static void checkCase(Tokenizer tokenizer, JsonNode row) {
    String text = row.path("text").asText();
    int[] ids = ints(row.path("ids"));
    EncodedText parsed = tokenizer.encodeParsingSpecials(text);
    assertArrayEquals(ids, parsed.ids(), text);
    checkOffsets(row, parsed);
    assertEquals(row.path("decoded").asText(), tokenizer.decodeAll(ids), text);
    assertEquals(row.path("decoded_skip_special").asText(), tokenizer.decode(ids), text);

    EncodedText plain = tokenizer.encodeWithOffsets(text);
    if (SPECIALS.stream().noneMatch(text::contains)) {
      assertArrayEquals(ids, plain.ids(), text);
      assertArrayEquals(ids, tokenizer.encode(text), text);
      assertArrayEquals(ints(row.path("ids_without_special")), tokenizer.encodePlain(text), text);
      checkOffsets(row, plain);
    }
  }

  /** The golden file lists the tokens that stand for text, in code points. */
  private static void checkOffsets(JsonNode row, EncodedText encoded) {
    String text = row.path("text").asText();
    JsonNode expected = row.path("offsets_in_code_points");
    if (expected.isMissingNode()) {
      return; // the long text's offsets are not in the file
    }
    int next = 0;
    for (int i = 0; i < encoded.ids().length; i++) {
      if (encoded.starts()[i] == EncodedText.NO_SPAN) {
        continue;
      }
      JsonNode span = expected.path(next++);
      assertEquals(
          text.offsetByCodePoints(0, span.path(0).asInt()), encoded.starts()[i], text + " @" + i);
      assertEquals(
          text.offsetByCodePoints(0, span.path(1).asInt()), encoded.ends()[i], text + " @" + i);
    }
    assertEquals(expected.size(), next, text);
  }

  private static void checkStream(Tokenizer tokenizer, JsonNode row) {
    int[] ids = ints(row.path("ids"));
    TokenStream stream = tokenizer.stream();
    StringBuilder whole = new StringBuilder();
    for (int i = 0; i < ids.length; i++) {
      JsonNode expected = row.path("emitted").path(i);
      String emitted = stream.push(ids[i]);
      assertEquals(expected.isNull() ? "" : expected.asText(), emitted, row + " at " + i);
      assertFalse(emitted.endsWith("\uFFFD"));
      whole.append(emitted);
    }
    whole.append(stream.finish());
    assertEquals(tokenizer.decode(ids), whole.toString());
  }

  @ParameterizedTest
  @CsvSource({
    "byte-level-gpt2",
    "byte-level-llama3",
    "byte-fallback-llama",
    "byte-fallback-metaspace"
  })
  void specialTokensInUserTextArePlainText(String name) {
    Path folder = Shared.path("golden/tokenizers/" + name + "/v5");
    try (Tokenizer tokenizer = Tokenizer.load(folder)) {
      for (String special : SPECIALS) {
        if (tokenizer.idOf(special).isEmpty()) {
          continue;
        }
        int id = tokenizer.idOf(special).getAsInt();
        String text = "a " + special + " b" + special;
        int[] ids = tokenizer.encodePlain(text);
        assertFalse(contains(ids, id), special);
        assertEquals(text, tokenizer.decode(ids));
        int[] parsed = tokenizer.encodeParsingSpecials(text).ids();
        assertTrue(contains(parsed, id), special);
        assertTrue(tokenizer.decodeAll(parsed).contains(special));
      }
    }
  }

  private static boolean contains(int[] ids, int id) {
    for (int other : ids) {
      if (other == id) {
        return true;
      }
    }
    return false;
  }

  @ParameterizedTest
  @CsvSource({
    "byte-level-gpt2, 0, 0, -1, 0",
    "byte-level-llama3, 700, 701, 702, -1",
    "byte-fallback-llama, 1, 2, -1, 0",
    "byte-fallback-metaspace, 1, 2, -1, 0"
  })
  void namesTheSpecialIdsInBothStyles(String name, int bos, int eos, int pad, int unk) {
    for (String version : List.of("v4", "v5")) {
      Path folder = Shared.path("golden/tokenizers/" + name + "/" + version);
      try (Tokenizer tokenizer = Tokenizer.load(folder)) {
        assertEquals(bos, tokenizer.bosId().orElse(-1));
        assertEquals(eos, tokenizer.eosId().orElse(-1));
        assertEquals(pad, tokenizer.padId().orElse(-1));
        assertEquals(unk, tokenizer.unkId().orElse(-1));
      }
    }
  }

  private static int[] ints(JsonNode node) {
    return StreamSupport.stream(node.spliterator(), false).mapToInt(JsonNode::asInt).toArray();
  }
}
