package org.rlhf4j.core.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.EncodedDataset.Piece;
import org.rlhf4j.core.testing.TestTokenizers;
import org.rlhf4j.core.text.Template;
import org.rlhf4j.core.text.Tokenizer;

class EncodedDatasetTest {
  @TempDir Path folder;

  @Test
  void countsWhatComesInAndGoesOut() throws IOException {
    Path file = folder.resolve("rows.jsonl");
    Files.writeString(
        file,
        """
        {"prompt": "a", "completion": "b"}
        {"prompt": "a", "completion": "bcdefgh"}
        {"prompt": "abcdefgh", "completion": "b"}
        {"nothing": 1}
        {"text": "abc"}
        """);
    try (Tokenizer tokenizer = Tokenizer.load(TestTokenizers.bytes(folder.resolve("tok")))) {
      RowEncoder encoder = encoder(tokenizer, 5, Overlong.TRUNCATE);
      EncodedDataset<TokenRow> data = EncodedDataset.loadRows(List.of(file), encoder, 1);
      DataReport report = data.report();
      assertEquals(5, report.rowsRead());
      assertEquals(3, report.rowsKept());
      assertEquals(2, report.rowsDropped());
      assertEquals(Map.of("bad row", 1, RowEncoder.TARGETS_CUT_OFF, 1), report.dropped());
      assertEquals(1, report.truncated());
      assertEquals(4, report.badRows().get(0).origin().line());
      assertEquals(List.of(0, 1, 4), data.origins().stream().map(RowOrigin::index).toList());
      // Lengths with BOS and EOS: 4, 10, 11, 5.
      assertEquals(5, report.lengthP50());
      assertEquals(11, report.lengthP95());
      assertEquals(11, report.lengthMax());
      assertEquals(
          List.of(new Piece("<s>a", false), new Piece("b</s>", true)), data.decodedSample());
      assertTrue(String.join("\n", report.lines()).contains("5 read, 3 kept, 2 dropped, 1 trunc"));

      RlhfException e =
          assertThrows(
              RlhfException.class, () -> EncodedDataset.loadRows(List.of(file), encoder, 0));
      assertEquals(ExitCode.INPUT, e.exitCode());
      assertTrue(e.getMessage().contains(file + ":4: no known column"), e.getMessage());
    }
  }

  @Test
  void badRowsOfBothKindsAreNamedInOrder() throws IOException {
    Path file = folder.resolve("rows.jsonl");
    Files.writeString(file, "{\"input_ids\": [1, 99]}\n{}\n{\"input_ids\": [1, 2]}\n");
    RlhfException e =
        assertThrows(
            RlhfException.class,
            () -> EncodedDataset.loadRows(List.of(file), encoder(null, 5, Overlong.DROP), 1));
    String message = e.getMessage();
    assertTrue(message.contains("2 of 3 rows are unusable, max_bad_rows is 1"), message);
    assertTrue(
        message.indexOf(file + ":1: token id 99") > 0
            && message.indexOf(file + ":1:") < message.indexOf(file + ":2:"),
        message);
  }

  @Test
  void theFirstOverlongRowIsNamed() throws IOException {
    Path file = folder.resolve("rows.jsonl");
    StringBuilder lines = new StringBuilder();
    IntStream.range(0, 600).forEach(i -> lines.append("{\"input_ids\": [1, 2, 3]}\n"));
    Files.writeString(file, "{\"input_ids\": [1, 2]}\n" + lines);
    RlhfException e =
        assertThrows(
            RlhfException.class,
            () -> EncodedDataset.loadRows(List.of(file), encoder(null, 2, Overlong.ERROR), 0));
    assertTrue(e.getMessage().startsWith(file + ":2: 3 tokens"), e.getMessage());
  }

  @Test
  void emptyDataIsAnError() throws IOException {
    Path empty = Files.writeString(folder.resolve("empty.jsonl"), "\n\n");
    RowEncoder encoder = encoder(null, 2, Overlong.DROP);
    assertTrue(
        assertThrows(RlhfException.class, () -> EncodedDataset.loadRows(List.of(empty), encoder, 0))
            .getMessage()
            .contains("holds no rows"));
    Path longer = Files.writeString(folder.resolve("long.jsonl"), "{\"input_ids\": [1, 2, 3]}\n");
    assertTrue(
        assertThrows(
                RlhfException.class, () -> EncodedDataset.loadRows(List.of(longer), encoder, 0))
            .getMessage()
            .contains("none of the 1 rows can be used: 1 × "));
  }

  @Test
  void hashSeesContentOrderAndEncoding() throws IOException {
    Path one = Files.writeString(folder.resolve("1.jsonl"), "{\"input_ids\": [1, 2, 3]}\n");
    Path two = Files.writeString(folder.resolve("2.jsonl"), "{\"input_ids\": [1, 2, 4]}\n");
    RowEncoder encoder = encoder(null, 9, Overlong.TRUNCATE);
    String hash = EncodedDataset.loadRows(List.of(one, two), encoder, 0).dataHash();
    assertEquals(64, hash.length());
    assertEquals(hash, EncodedDataset.loadRows(List.of(one, two), encoder, 0).dataHash());
    assertNotEquals(hash, EncodedDataset.loadRows(List.of(two, one), encoder, 0).dataHash());
    RowEncoder shorter = encoder(null, 2, Overlong.TRUNCATE);
    assertNotEquals(hash, EncodedDataset.loadRows(List.of(one, two), shorter, 0).dataHash());
    Files.writeString(two, "{\"input_ids\": [1, 2, 4], \"note\": 1}\n");
    assertNotEquals(hash, EncodedDataset.loadRows(List.of(one, two), encoder, 0).dataHash());
  }

  @Test
  void loadsPairsAndPrompts() throws IOException {
    Path file = folder.resolve("pairs.jsonl");
    Files.writeString(file, "{\"prompt\": \"p\", \"chosen\": \"c\", \"rejected\": \"r\"}\n");
    try (Tokenizer tokenizer = Tokenizer.load(TestTokenizers.bytes(folder.resolve("tok")))) {
      RowEncoder encoder = encoder(tokenizer, 9, Overlong.DROP);
      EncodedDataset<TokenPair> pairs = EncodedDataset.loadPairs(List.of(file), encoder, 0);
      assertEquals(
          List.of(
              new Piece("chosen: ", false),
              new Piece("<s>p", false),
              new Piece("c</s>", true),
              new Piece("\nrejected: ", false),
              new Piece("<s>p", false),
              new Piece("r</s>", true)),
          pairs.decodedSample());
      EncodedDataset<PromptRow> prompts = EncodedDataset.loadPrompts(List.of(file), encoder, 0);
      assertArrayEquals(new int[] {256, 'p'}, prompts.rows().get(0).ids());
      assertEquals(List.of(new Piece("p", false)), prompts.decodedSample());
    }
  }

  @Test
  void orderIsAPermutationThatChangesWithSeedAndEpoch() {
    int[] plain = IntStream.range(0, 1000).toArray();
    int[] first = DataOrder.order(1000, 42, 0, true);
    assertArrayEquals(first, DataOrder.order(1000, 42, 0, true));
    assertArrayEquals(plain, Arrays.stream(first).sorted().toArray());
    assertFalse(Arrays.equals(first, DataOrder.order(1000, 42, 1, true)));
    assertFalse(Arrays.equals(first, DataOrder.order(1000, 43, 0, true)));
    assertArrayEquals(plain, DataOrder.order(1000, 42, 0, false));
    assertEquals(0, DataOrder.order(0, 42, 0, true).length);
  }

  /** Each of the six orders of three rows comes up equally often. */
  @Test
  void orderIsFair() {
    int[] counts = new int[27];
    int seeds = 60_000;
    for (int seed = 0; seed < seeds; seed++) {
      int[] order = DataOrder.order(3, seed, 0, true);
      counts[order[0] * 9 + order[1] * 3 + order[2]]++;
    }
    double chiSquare = 0;
    int seen = 0;
    for (int count : counts) {
      if (count > 0) {
        seen++;
        chiSquare += Math.pow(count - seeds / 6.0, 2) / (seeds / 6.0);
      }
    }
    assertEquals(6, seen);
    assertTrue(chiSquare < 25.7, "5 degrees of freedom, p = 1e-4: " + chiSquare);
  }

  private static RowEncoder encoder(Tokenizer tokenizer, int maxLength, Overlong overlong) {
    int vocabulary = tokenizer == null ? 10 : 259;
    return new RowEncoder(
        tokenizer,
        vocabulary,
        new RowEncoder.Options(Template.MODEL, maxLength, overlong, tokenizer != null, true));
  }
}
