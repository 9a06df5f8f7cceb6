package org.rlhf4j.core.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.testing.Shared;

/**
 * Holds the tokenizer to what Hugging Face's own and SentencePiece compute, for every folder of
 * golden tokenizers that is found.
 */
class TokenizerGoldenTest {
  private static final List<String> SPECIALS =
      List.of("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "<pad>");

  @TempDir Path temporary;

  /** Each folder with a tokenizer.json below a golden folder, but not those made of a model. */
  static Stream<Arguments> jsonFolders() throws IOException {
    List<Arguments> found = new ArrayList<>();
    for (Path golden : Shared.folders("golden/tokenizers")) {
      if (!Files.exists(golden.resolve("tokenizer.model"))) {
        for (Path version : versions(golden)) {
          found.add(
              Arguments.of(golden.getFileName().toString(), version.getFileName().toString()));
        }
      }
    }
    return found.stream();
  }

  static Stream<String> sentencePieceFolders() throws IOException {
    return Shared.folders("golden/tokenizers").stream()
        .filter(golden -> Files.exists(golden.resolve("tokenizer.model")))
        .map(golden -> golden.getFileName().toString());
  }

  private static List<Path> versions(Path golden) throws IOException {
    try (Stream<Path> children = Files.list(golden)) {
      return children
          .filter(child -> Files.exists(child.resolve("tokenizer.json")))
          .sorted()
          .toList();
    }
  }

  private static JsonNode cases(Path golden) throws IOException {
    return new ObjectMapper().readTree(golden.resolve("cases.json").toFile());
  }

  @ParameterizedTest
  @MethodSource("jsonFolders")
  void equalsHuggingFace(String name, String version) throws IOException {
    Path folder = Shared.path("golden/tokenizers/" + name);
    JsonNode golden = cases(folder);
    try (Tokenizer tokenizer = Tokenizer.load(folder.resolve(version))) {
      assertEquals(golden.path("vocab_size").asInt(), tokenizer.vocabularySize());
      assertFalse(golden.path("cases").isEmpty());
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
  @MethodSource("sentencePieceFolders")
  void modelAloneEqualsSentencePiece(String name) throws IOException {
    Path golden = Shared.path("golden/tokenizers/" + name);
    JsonNode file = cases(golden);
    try (Tokenizer tokenizer = Tokenizer.load(withModel(golden, null))) {
      assertEquals(file.path("vocab_size").asInt(), tokenizer.vocabularySize());
      assertEquals(file.path("bos_id").asInt(), tokenizer.bosId().orElseThrow());
      assertEquals(file.path("eos_id").asInt(), tokenizer.eosId().orElseThrow());
      assertEquals(file.path("unk_id").asInt(), tokenizer.unkId().orElseThrow());
      assertTrue(tokenizer.padId().isEmpty());
      for (JsonNode row : file.path("cases")) {
        String text = row.path("text").asText();
        int[] ids = ints(row.path("ids"));
        assertArrayEquals(ids, tokenizer.encodePlain(text), text);
        int[] withBos =
            IntStream.concat(IntStream.of(file.path("bos_id").asInt()), Arrays.stream(ids))
                .toArray();
        assertArrayEquals(withBos, tokenizer.encode(text), text);
        assertEquals(row.path("decoded").asText(), tokenizer.decode(ids), text);
        checkSpans(text, tokenizer.encodeWithOffsets(text));
        checkStreams(tokenizer, ids);
      }
    }
  }

  /** Tokens stand in the order of the text, and no character but spaces is left out. */
  private static void checkSpans(String text, EncodedText encoded) {
    int covered = 0;
    for (int i = 1; i < encoded.ids().length; i++) {
      int start = encoded.starts()[i];
      assertTrue(start <= encoded.ends()[i], text);
      assertTrue(i == 1 || start >= encoded.starts()[i - 1], text);
      String leftOut = text.substring(Math.min(covered, start), start);
      assertTrue(leftOut.replace('\u2581', ' ').isBlank(), text);
      covered = Math.max(covered, encoded.ends()[i]);
    }
  }

  private static void checkStreams(Tokenizer tokenizer, int[] ids) {
    TokenStream stream = tokenizer.stream();
    StringBuilder whole = new StringBuilder();
    for (int id : ids) {
      whole.append(stream.push(id));
    }
    assertEquals(tokenizer.decode(ids), whole.append(stream.finish()).toString());
  }

  @ParameterizedTest
  @MethodSource("sentencePieceFolders")
  void modelWithConfigEqualsTheSlowTokenizer(String name) throws IOException {
    Path golden = Shared.path("golden/tokenizers/" + name);
    for (boolean legacy : new boolean[] {true, false}) {
      String key = "llama_slow_legacy_" + legacy;
      Path config = golden.resolve("v4-legacy-" + legacy).resolve("tokenizer_config.json");
      String content =
          Files.exists(config) ? Files.readString(config) : "{\"legacy\": " + legacy + "}";
      try (Tokenizer tokenizer = Tokenizer.load(withModel(golden, content))) {
        for (JsonNode row : cases(golden).path("cases")) {
          String text = row.path("text").asText();
          assertArrayEquals(
              ints(row.path(key)), tokenizer.encodeParsingSpecials(text).ids(), key + text);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("sentencePieceFolders")
  void convertedFilesEqualTheFastTokenizer(String name) throws IOException {
    Path golden = Shared.path("golden/tokenizers/" + name);
    for (Path version : versions(golden)) {
      String key = version.getFileName().toString().replace("v4-legacy-", "llama_fast_legacy_");
      try (Tokenizer tokenizer = Tokenizer.load(version)) {
        for (JsonNode row : cases(golden).path("cases")) {
          String text = row.path("text").asText();
          assertArrayEquals(
              ints(row.path(key)), tokenizer.encodeParsingSpecials(text).ids(), key + text);
        }
      }
    }
  }

  /** The same tokenizer in the files of the first GPT-2 and of OPT. */
  @Test
  void vocabularyAndMergesEqualHuggingFace() throws IOException {
    Path golden = Shared.path("golden/tokenizers/byte-level-gpt2");
    JsonNode model =
        new ObjectMapper().readTree(golden.resolve("v4/tokenizer.json").toFile()).path("model");
    List<String> merges = new ArrayList<>(List.of("#version: 0.2"));
    model
        .path("merges")
        .forEach(pair -> merges.add(pair.path(0).asText() + " " + pair.path(1).asText()));
    Files.write(temporary.resolve("merges.txt"), merges);
    Files.writeString(temporary.resolve("vocab.json"), model.path("vocab").toString());
    for (String name : List.of("tokenizer_config.json", "special_tokens_map.json")) {
      String content = Files.readString(golden.resolve("v4").resolve(name));
      Files.writeString(
          temporary.resolve(name), content.replace("PreTrainedTokenizerFast", "GPT2Tokenizer"));
    }
    try (Tokenizer tokenizer = Tokenizer.load(temporary)) {
      assertEquals("vocab.json", tokenizer.origin().getFileName().toString());
      JsonNode file = cases(golden);
      assertEquals(file.path("vocab_size").asInt(), tokenizer.vocabularySize());
      for (JsonNode row : file.path("cases")) {
        checkCase(tokenizer, row);
      }
      for (JsonNode row : file.path("streams")) {
        checkStream(tokenizer, row);
      }
    }
  }

  private Path withModel(Path golden, String config) throws IOException {
    Path folder = Files.createTempDirectory(temporary, "model");
    Files.copy(golden.resolve("tokenizer.model"), folder.resolve("tokenizer.model"));
    if (config != null) {
      Files.writeString(folder.resolve("tokenizer_config.json"), config);
    }
    return folder;
  }

  @ParameterizedTest
  @MethodSource("jsonFolders")
  void specialTokensInUserTextArePlainText(String name, String version) {
    Path folder = Shared.path("golden/tokenizers/" + name + "/" + version);
    try (Tokenizer tokenizer = Tokenizer.load(folder)) {
      checkSpecialsInText(tokenizer);
    }
  }

  @ParameterizedTest
  @MethodSource("sentencePieceFolders")
  void specialTokensInUserTextArePlainText(String name) throws IOException {
    Path golden = Shared.path("golden/tokenizers/" + name);
    String config = "{\"additional_special_tokens\": [\"<|im_start|>\"]}";
    try (Tokenizer tokenizer = Tokenizer.load(withModel(golden, config))) {
      checkSpecialsInText(tokenizer);
    }
  }

  private static void checkSpecialsInText(Tokenizer tokenizer) {
    int checked = 0;
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
      checked++;
    }
    assertTrue(checked > 0);
  }

  private static boolean contains(int[] ids, int id) {
    return Arrays.stream(ids).anyMatch(other -> other == id);
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
