package org.rlhf4j.core.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class PackingTest {
  @Test
  void bestFitDecreasingByHand() {
    // Lengths 3, 6, 5, 2, 4 in rows of 8. Longest first: 6 | 5 | 4 | 3 joins 5 (room 3, the least
    // that holds it) | 2 joins 6 (room 2).
    Packing.Packed packed = Packing.BFD.pack(documents(3, 6, 5, 2, 4), 8);
    assertEquals(List.of("222222|44", "33333|111", "5555"), shown(packed));
  }

  @Test
  void bestFitCutsWhatExceedsARow() {
    Packing.Packed packed = Packing.BFD.pack(documents(9, 3), 8);
    assertEquals(List.of("11111111", "222"), shown(packed));
    assertEquals(1, packed.truncatedDocuments());
    assertEquals(1, packed.droppedTokens());
    assertEquals(8 + 2, packed.documentTargets());
    assertEquals(7 + 2, packed.rowTargets());
  }

  /** Against a plain search over all open rows, and the promise that documents stay whole. */
  @Test
  void bestFitEqualsAPlainSearch() {
    Random random = new Random(5);
    for (int trial = 0; trial < 50; trial++) {
      int[] lengths = random.ints(60, 2, 40).toArray();
      List<TokenRow> ordered = new ArrayList<>(documents(lengths));
      Packing.Packed packed = Packing.BFD.pack(ordered, 40);
      ordered.sort(Comparator.comparingInt(row -> -row.length()));
      List<List<TokenRow>> rows = new ArrayList<>();
      for (TokenRow document : ordered) {
        List<TokenRow> best = null;
        for (List<TokenRow> row : rows) {
          if (length(row) + document.length() <= 40
              && (best == null || length(row) > length(best))) {
            best = row;
          }
        }
        if (best == null) {
          best = new ArrayList<>();
          rows.add(best);
        }
        best.add(document);
      }
      assertEquals(rows, packed.rows().stream().map(PackedRow::documents).toList());
      assertEquals(0, packed.droppedTokens());
      assertEquals(packed.documentTargets(), packed.rowTargets());
    }
  }

  @Test
  void wrappedCutsTheLineAndKeepsTheEnd() {
    Packing.Packed packed = Packing.WRAPPED.pack(documents(5, 4, 3), 4);
    assertEquals(List.of("1111", "1|222", "2|333"), shown(packed));
    // A piece's first token has nothing before it: of 4 + 3 + 2 targets the two cuts cost one each.
    assertEquals(9, packed.documentTargets());
    assertEquals(7, packed.rowTargets());
    assertEquals(0, packed.droppedTokens());
    for (PackedRow row : packed.rows()) {
      for (TokenRow piece : row.documents()) {
        assertEquals(piece.length() - 1, piece.targetCount());
      }
    }
  }

  @Test
  void wrappedLeavesOutRowsWithoutATarget() {
    Packing.Packed packed = Packing.WRAPPED.pack(documents(4, 5), 4);
    assertEquals(List.of("1111", "2222"), shown(packed));
    assertEquals(1, packed.droppedRows());
    assertEquals(1, packed.droppedTokens());
  }

  @Test
  void groupTextsIsOneDocumentARowAndDropsTheRest() {
    List<TokenRow> documents =
        List.of(
            TokenRow.allTargets(new int[] {1, 1, 1}),
            TokenRow.targetsFrom(new int[] {2, 2, 2}, 2),
            TokenRow.allTargets(new int[] {3, 3, 3, 3}));
    Packing.Packed packed = Packing.GROUP_TEXTS.pack(documents, 4);
    assertEquals(List.of("1112", "2233"), shown(packed));
    assertEquals("-xx-", targets(packed.rows().get(0).documents().get(0)));
    // The second row begins within document 2; document 3 is a text, so its first token is a
    // target.
    assertEquals("-xxx", targets(packed.rows().get(1).documents().get(0)));
    assertEquals(2, packed.droppedTokens());
  }

  @Test
  void groupTextsKeepsAShortGroupAndStartsAnewAfterAThousand() {
    assertEquals(List.of("122"), shown(Packing.GROUP_TEXTS.pack(documents(1, 2), 4)));
    int[] lengths = new int[1001];
    Arrays.fill(lengths, 3);
    Packing.Packed packed = Packing.GROUP_TEXTS.pack(documents(lengths), 7);
    // 3000 tokens give 428 rows and 4 left over; the last document is a group of its own.
    assertEquals(429, packed.rows().size());
    assertEquals(4, packed.droppedTokens());
    assertEquals(3, packed.rows().get(428).length());
  }

  @Test
  void unpackedRowsStayAlone() {
    assertEquals(List.of("11", "222"), shown(Packing.NONE.pack(documents(2, 3), 2)));
    assertThrows(IllegalArgumentException.class, () -> Packing.BFD.pack(documents(2), 1));
  }

  @Test
  void noTokenIsLostUncounted() {
    Random random = new Random(11);
    for (Packing packing : Packing.values()) {
      List<TokenRow> documents = documents(random.ints(300, 2, 30).toArray());
      Packing.Packed packed = packing.pack(documents, 16);
      long packedTokens = packed.rows().stream().mapToLong(PackedRow::length).sum();
      assertEquals(length(documents), packedTokens + packed.droppedTokens());
      for (PackedRow row : packed.rows()) {
        assertTrue(packing == Packing.NONE || row.length() <= 16);
        assertTrue(row.targetCount() > 0);
      }
    }
  }

  /** Document n holds the id n + 1, all but the first are targets. */
  private static List<TokenRow> documents(int... lengths) {
    List<TokenRow> documents = new ArrayList<>();
    for (int i = 0; i < lengths.length; i++) {
      int[] ids = new int[lengths[i]];
      Arrays.fill(ids, i + 1);
      documents.add(TokenRow.allTargets(ids));
    }
    return documents;
  }

  private static int length(List<TokenRow> documents) {
    return documents.stream().mapToInt(TokenRow::length).sum();
  }

  private static List<String> shown(Packing.Packed packed) {
    List<String> rows = new ArrayList<>();
    for (PackedRow row : packed.rows()) {
      List<String> parts = new ArrayList<>();
      for (TokenRow document : row.documents()) {
        StringBuilder ids = new StringBuilder();
        for (int id : document.ids()) {
          ids.append(id);
        }
        parts.add(ids.toString());
      }
      rows.add(String.join("|", parts));
    }
    return rows;
  }

  private static String targets(TokenRow row) {
    StringBuilder text = new StringBuilder();
    for (boolean target : row.targets()) {
      text.append(target ? 'x' : '-');
    }
    return text.toString();
  }
}
