package org.rlhf4j.core.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.TreeSet;

/** How documents share training rows. Every strategy is a pure function of the rows' order. */
public enum Packing {
  /** A row per document. */
  NONE,
  /**
   * Best fit, decreasing, as in TRL: the longest document first, each into the row with the least
   * room that still holds it. Documents stay whole; only one longer than a whole row is cut.
   */
  BFD,
  /**
   * The documents in a line, cut every {@code maxLength} tokens, the last short row kept. What of a
   * document lies in one row is a document of its own: the piece does not see the part before the
   * cut, nor other documents, so its first token has nothing to be predicted from and is no target.
   */
  WRAPPED,
  /**
   * LMFlow's {@code group_texts}: as {@link #WRAPPED}, but in groups of 1000 documents, a row is
   * one document that attends across the borders within it, and a group's remainder is dropped. A
   * group shorter than one row is kept as a short row, as RAFT's copy of the function does. Where
   * all tokens of a document are targets its first token is one too, predicted from the document
   * before it.
   */
  GROUP_TEXTS;

  private static final int GROUP = 1000;

  /**
   * The outcome of packing.
   *
   * @param rows the packed rows, each with at least one target
   * @param truncatedDocuments documents that were cut because they alone exceed a row
   * @param droppedTokens tokens of the documents that are in no row
   * @param documentTargets targets of the documents
   * @param rowTargets targets of the rows: fewer where a document was cut, more where {@link
   *     #GROUP_TEXTS} predicts first tokens
   * @param droppedRows rows that would have held no target
   */
  public record Packed(
      List<PackedRow> rows,
      int truncatedDocuments,
      long droppedTokens,
      long documentTargets,
      long rowTargets,
      int droppedRows) {}

  /**
   * Packs documents into rows of at most {@code maxLength} tokens. {@link #NONE} leaves lengths as
   * they are.
   */
  public Packed pack(List<TokenRow> documents, int maxLength) {
    if (maxLength < 2) {
      throw new IllegalArgumentException("maxLength must be at least 2, is " + maxLength);
    }
    List<PackedRow> packed =
        switch (this) {
          case NONE -> documents.stream().map(row -> new PackedRow(List.of(row))).toList();
          case BFD -> bestFitDecreasing(documents, maxLength);
          case WRAPPED -> wrapped(documents, maxLength);
          case GROUP_TEXTS -> groupTexts(documents, maxLength);
        };
    List<PackedRow> rows = packed.stream().filter(row -> row.targetCount() > 0).toList();
    int truncated =
        this == BFD ? (int) documents.stream().filter(d -> d.length() > maxLength).count() : 0;
    long tokens = documents.stream().mapToLong(TokenRow::length).sum();
    return new Packed(
        rows,
        truncated,
        tokens - rows.stream().mapToLong(PackedRow::length).sum(),
        documents.stream().mapToLong(TokenRow::targetCount).sum(),
        rows.stream().mapToLong(PackedRow::targetCount).sum(),
        packed.size() - rows.size());
  }

  /** A row being filled; ordered by room, then by age. */
  private record Bin(int room, int number, List<TokenRow> documents) {}

  private static List<PackedRow> bestFitDecreasing(List<TokenRow> documents, int maxLength) {
    List<TokenRow> ordered = new ArrayList<>();
    documents.forEach(
        document -> ordered.add(slice(document, 0, Math.min(maxLength, document.length()))));
    ordered.sort(Comparator.comparingInt(TokenRow::length).reversed());
    TreeSet<Bin> open =
        new TreeSet<>(Comparator.comparingInt(Bin::room).thenComparingInt(Bin::number));
    List<List<TokenRow>> bins = new ArrayList<>();
    for (TokenRow document : ordered) {
      Bin bin = open.ceiling(new Bin(document.length(), -1, List.of()));
      if (bin == null) {
        bin = new Bin(maxLength, bins.size(), new ArrayList<>());
        bins.add(bin.documents());
      } else {
        open.remove(bin);
      }
      bin.documents().add(document);
      open.add(new Bin(bin.room() - document.length(), bin.number(), bin.documents()));
    }
    return bins.stream().map(PackedRow::new).toList();
  }

  private static List<PackedRow> wrapped(List<TokenRow> documents, int maxLength) {
    List<PackedRow> rows = new ArrayList<>();
    List<TokenRow> row = new ArrayList<>();
    int room = maxLength;
    for (TokenRow document : documents) {
      int from = 0;
      while (from < document.length()) {
        int to = Math.min(document.length(), from + room);
        row.add(slice(document, from, to));
        room -= to - from;
        from = to;
        if (room == 0) {
          rows.add(new PackedRow(row));
          row.clear();
          room = maxLength;
        }
      }
    }
    if (!row.isEmpty()) {
      rows.add(new PackedRow(row));
    }
    return rows;
  }

  private static List<PackedRow> groupTexts(List<TokenRow> documents, int maxLength) {
    List<PackedRow> rows = new ArrayList<>();
    for (int first = 0; first < documents.size(); first += GROUP) {
      List<TokenRow> group = documents.subList(first, Math.min(documents.size(), first + GROUP));
      int total = group.stream().mapToInt(TokenRow::length).sum();
      int[] ids = new int[total];
      boolean[] targets = new boolean[total];
      int position = 0;
      for (TokenRow document : group) {
        System.arraycopy(document.ids(), 0, ids, position, document.length());
        System.arraycopy(document.targets(), 0, targets, position, document.length());
        targets[position] = document.targetCount() == document.length() - 1;
        position += document.length();
      }
      int end = total < maxLength ? total : total / maxLength * maxLength;
      for (int from = 0; from < end; from += maxLength) {
        int to = Math.min(end, from + maxLength);
        boolean[] rowTargets = Arrays.copyOfRange(targets, from, to);
        rowTargets[0] = false;
        rows.add(
            new PackedRow(List.of(new TokenRow(Arrays.copyOfRange(ids, from, to), rowTargets))));
      }
    }
    return rows;
  }

  private static TokenRow slice(TokenRow document, int from, int to) {
    if (from == 0 && to >= document.length()) {
      return document;
    }
    boolean[] targets = Arrays.copyOfRange(document.targets(), from, to);
    targets[0] = false;
    return new TokenRow(Arrays.copyOfRange(document.ids(), from, to), targets);
  }
}
