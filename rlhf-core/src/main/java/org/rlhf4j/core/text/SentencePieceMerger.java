package org.rlhf4j.core.text;

import java.util.BitSet;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;
import org.rlhf4j.core.text.SentencePieceModel.Algorithm;
import org.rlhf4j.core.text.SentencePieceModel.Piece;
import org.rlhf4j.core.text.SentencePieceModel.PieceType;

/**
 * Splits a text by pair merges as SentencePiece's {@code bpe_model.cc} does: the pair whose joint
 * piece has the highest score is merged first, the leftmost of several. The engine knows no equal
 * scores; models whose vocabulary was extended by hand have them, such as Chinese LLaMA's, where
 * all added pieces have the score 0.
 */
final class SentencePieceMerger {
  private static final int NONE = -1;

  private final Map<String, Float> scores = new HashMap<>();
  private final SentencePieceNormalizer normalizer;

  /**
   * @param normalizer of the model: it knows the pieces that users defined
   */
  SentencePieceMerger(SentencePieceModel model, SentencePieceNormalizer normalizer) {
    this.normalizer = normalizer;
    for (Piece piece : model.pieces()) {
      if (piece.type() == PieceType.NORMAL) {
        scores.put(piece.text(), positiveZero(piece.score()));
      }
    }
  }

  /** Whether a model has pieces to merge to that share their score. */
  static boolean isNeeded(SentencePieceModel model) {
    Set<Float> seen = new HashSet<>();
    return model.algorithm() == Algorithm.BPE
        && model.pieces().stream()
            .filter(piece -> piece.type() == PieceType.NORMAL)
            .filter(piece -> piece.text().codePointCount(0, piece.text().length()) > 1)
            .anyMatch(piece -> !seen.add(positiveZero(piece.score())));
  }

  /**
   * Both zeros are one score, as they are up to SentencePiece 0.2.0, though Java's collections tell
   * them apart. Since then SentencePiece does too, and merges to a piece of -0 after those of 0.
   */
  private static float positiveZero(float score) {
    return score == 0 ? 0f : score;
  }

  /**
   * Two neighbours that could be merged.
   *
   * @param left where the left one begins
   * @param right where the right one begins
   * @param end where the right one ends, exclusive
   * @param score of the piece that they make
   */
  private record Pair(int left, int right, int end, float score) {}

  /**
   * Splits a normalized text.
   *
   * @return the characters behind which a piece ends that is not the last one; characters that are
   *     no pieces are not parted from each other
   */
  BitSet boundaries(PlacedText text) {
    BitSet boundaries = new BitSet();
    int from = 0;
    int at = 0;
    while (at < text.length()) {
      int kept = normalizer.keptLength(text, at);
      if (kept > 0) {
        split(text, from, at, boundaries);
        from = at + kept;
      }
      at += Math.max(1, kept);
    }
    split(text, from, text.length(), boundaries);
    return boundaries;
  }

  /** Splits a stretch that holds no piece that users defined. */
  private void split(PlacedText text, int from, int to, BitSet boundaries) {
    int[] ends = new int[to - from];
    int[] previous = new int[to - from];
    PriorityQueue<Pair> pairs =
        new PriorityQueue<>(
            Comparator.comparingDouble((Pair pair) -> -pair.score()).thenComparingInt(Pair::left));
    for (int i = from; i < to; i++) {
      ends[i - from] = i + 1;
      previous[i - from] = i - 1;
      if (i > from) {
        addPair(pairs, text, i - 1, i, i + 1);
      }
    }
    while (!pairs.isEmpty()) {
      Pair pair = pairs.poll();
      int left = pair.left();
      if (ends[left - from] != pair.right() || ends[pair.right() - from] != pair.end()) {
        continue; // one of the two has been merged with another part
      }
      ends[left - from] = pair.end();
      ends[pair.right() - from] = NONE;
      if (pair.end() < to) {
        previous[pair.end() - from] = left;
        addPair(pairs, text, left, pair.end(), ends[pair.end() - from]);
      }
      if (left > from) {
        addPair(pairs, text, previous[left - from], left, pair.end());
      }
    }
    boolean knownBefore = false;
    for (int begin = from; begin < to; begin = ends[begin - from]) {
      boolean known = scores.containsKey(text.substring(begin, ends[begin - from]));
      if (begin > from && (known || knownBefore)) {
        boundaries.set(begin - 1);
      }
      knownBefore = known;
    }
  }

  private void addPair(PriorityQueue<Pair> pairs, PlacedText text, int left, int right, int end) {
    Float score = scores.get(text.substring(left, end));
    if (score != null) {
      pairs.add(new Pair(left, right, end, score));
    }
  }
}
