package org.rlhf4j.cli.bench;

import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.data.PackedRow;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenPair;
import org.rlhf4j.core.data.TokenRow;

/**
 * Rows of token ids that any language can repeat: x' = 1664525 x + 1013904223 mod 2^32 from 12345,
 * token = 4 + (x >> 8) mod (vocabulary - 4).
 */
final class BenchData {
  private static final int FIRST = 4;
  private static final int END = 2;

  /** Lengths of chosen and rejected rows with the long tail of dialogues. */
  private static final int[][] MIXED = {
    {31, 45}, {52, 38}, {67, 90}, {74, 74}, {88, 61}, {93, 120}, {101, 77}, {110, 142},
    {118, 96}, {127, 131}, {139, 155}, {150, 101}, {168, 190}, {185, 160}, {214, 176}, {250, 233}
  };

  private final int vocabulary;
  private long x = 12345;

  BenchData(int vocabulary) {
    this.vocabulary = vocabulary;
  }

  private long next() {
    x = (1664525 * x + 1013904223) & 0xFFFFFFFFL;
    return x >> 8;
  }

  private int[] row(int length) {
    int[] ids = new int[length];
    for (int i = 0; i < length; i++) {
      ids[i] = FIRST + (int) (next() % (vocabulary - FIRST));
    }
    return ids;
  }

  private TokenRow ended(int length) {
    int[] ids = row(length - 1);
    int[] closed = java.util.Arrays.copyOf(ids, length);
    closed[length - 1] = END;
    return TokenRow.allTargets(closed);
  }

  List<PackedRow> rows(int count, int length) {
    List<PackedRow> rows = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      rows.add(new PackedRow(List.of(TokenRow.allTargets(row(length)))));
    }
    return rows;
  }

  List<TokenPair> pairs(int count, BenchConfig.Lengths lengths) {
    List<TokenPair> pairs = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      int[] length =
          lengths == BenchConfig.Lengths.FIXED
              ? new int[] {128, 128}
              : MIXED[(int) (next() % MIXED.length)];
      pairs.add(new TokenPair(ended(length[0]), ended(length[1]), 0));
    }
    return pairs;
  }

  List<PromptRow> prompts(int count, int length) {
    List<PromptRow> prompts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      prompts.add(new PromptRow(i, "", row(length)));
    }
    return prompts;
  }
}
