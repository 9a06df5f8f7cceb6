package org.rlhf4j.core.text;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What SentencePiece does to a text before it splits it: replaces characters, removes needless
 * spaces, puts a space in front and writes spaces as U+2581. Follows {@code Normalizer::Normalize}
 * of SentencePiece's {@code normalizer.cc}.
 */
final class SentencePieceNormalizer {
  /** How SentencePiece writes a space. */
  static final int SPACE = 0x2581;

  private final SentencePieceModel.Normalization rules;
  private final Map<Integer, List<int[]>> keptByFirst = new HashMap<>();

  SentencePieceNormalizer(SentencePieceModel model) {
    this.rules = model.normalization();
    for (SentencePieceModel.Piece piece : model.pieces()) {
      if (piece.type() == SentencePieceModel.PieceType.USER_DEFINED) {
        int[] kept = piece.text().codePoints().toArray();
        keptByFirst.computeIfAbsent(kept[0], first -> new ArrayList<>()).add(kept);
      }
    }
    Comparator<int[]> longestFirst = Comparator.comparingInt((int[] kept) -> -kept.length);
    keptByFirst.values().forEach(kept -> kept.sort(longestFirst));
  }

  /**
   * Appends the normalized text to another one.
   *
   * @param text what to normalize
   * @param beginsText whether it begins a text, so that spaces at its start may be needless
   * @param withPrefix whether a space goes in front
   */
  void normalize(PlacedText text, boolean beginsText, boolean withPrefix, PlacedText out) {
    int from = 0;
    boolean afterSpace = rules.removesExtraSpaces() && beginsText;
    while (afterSpace && from < text.length()) {
      Chunk chunk = chunkAt(text, from);
      if (!chunk.isOneSpace()) {
        break;
      }
      from += chunk.length();
    }
    if (from == text.length()) {
      return;
    }
    int begin = out.length();
    if (withPrefix) {
      out.append(SPACE, text.start(from), text.end(from));
    }
    while (from < text.length()) {
      Chunk chunk = chunkAt(text, from);
      int start = text.start(from);
      int end = text.end(from + chunk.length() - 1);
      int[] content = chunk.content();
      int first = 0;
      while (afterSpace && first < content.length && content[first] == ' ') {
        first++;
      }
      for (int i = first; i < content.length; i++) {
        out.append(content[i] == ' ' ? SPACE : content[i], start, end);
      }
      if (first < content.length) {
        afterSpace = rules.removesExtraSpaces() && content[content.length - 1] == ' ';
      } else if (out.length() > begin) {
        out.extendLastTo(end);
      }
      from += chunk.length();
    }
    while (rules.removesExtraSpaces()
        && out.length() > begin
        && out.codePoint(out.length() - 1) == SPACE) {
      out.cutTo(out.length() - 1);
    }
  }

  /**
   * A stretch of the text that is replaced as one.
   *
   * @param length how many code points of the text it is
   * @param content what comes of it
   */
  private record Chunk(int length, int[] content) {
    boolean isOneSpace() {
      return content.length == 1 && content[0] == ' ';
    }
  }

  /** How long the longest piece is that users defined and that begins here; 0 for none. */
  int keptLength(PlacedText text, int from) {
    for (int[] kept : keptByFirst.getOrDefault(text.codePoint(from), List.of())) {
      if (startsWith(text, from, kept)) {
        return kept.length;
      }
    }
    return 0;
  }

  private Chunk chunkAt(PlacedText text, int from) {
    int kept = keptLength(text, from);
    if (kept > 0) {
      return new Chunk(kept, Arrays.copyOfRange(text.codePoints(), from, from + kept));
    }
    long match =
        rules.charsMap() == null
            ? CharsMap.NONE
            : rules.charsMap().match(text.codePoints(), from, text.length());
    return match == CharsMap.NONE
        ? new Chunk(1, new int[] {text.codePoint(from)})
        : new Chunk(
            (int) (match >>> 32), rules.charsMap().replacement(match).codePoints().toArray());
  }

  private static boolean startsWith(PlacedText text, int from, int[] kept) {
    if (from + kept.length > text.length()) {
      return false;
    }
    for (int i = 0; i < kept.length; i++) {
      if (text.codePoint(from + i) != kept[i]) {
        return false;
      }
    }
    return true;
  }
}
