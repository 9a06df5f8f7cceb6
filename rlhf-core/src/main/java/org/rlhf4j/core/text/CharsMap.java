package org.rlhf4j.core.text;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.BitSet;
import java.util.HashMap;
import java.util.Map;
import org.rlhf4j.core.RlhfException;

/**
 * SentencePiece's {@code precompiled_charsmap}: sequences of characters and what replaces them. The
 * layout is the length of the trie in bytes, the trie as a double array of the Darts-clone library,
 * and the replacements, each closed by a zero byte.
 *
 * <p>The engine's own normalizer for this table asks for whole grapheme clusters and takes the
 * shortest entry, SentencePiece takes the longest entry at each place, as done here.
 */
final class CharsMap {
  /** Of {@link #match}: nothing begins here. */
  static final long NONE = -1;

  private static final int ROOT = 0;

  private final int[] units;
  private final Map<Integer, String> replacements = new HashMap<>();

  private CharsMap(int[] units) {
    this.units = units;
  }

  /**
   * Reads a table and looks at every entry, so that none can fail later.
   *
   * @throws RlhfException if it is corrupt; the message begins with the origin
   */
  static CharsMap of(ByteBuffer blob, String origin) {
    ByteBuffer content = blob.slice().order(ByteOrder.LITTLE_ENDIAN);
    int trieBytes = content.remaining() < Integer.BYTES ? -1 : content.getInt();
    if (trieBytes < Integer.BYTES || trieBytes % 4 != 0 || trieBytes > content.remaining()) {
      throw RlhfException.input(origin + ": corrupt: its trie has an impossible length");
    }
    IntBuffer trie =
        content.slice(Integer.BYTES, trieBytes).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer();
    int[] units = new int[trie.remaining()];
    trie.get(units);
    content.position(Integer.BYTES + trieBytes);
    byte[] texts = new byte[content.remaining()];
    content.get(texts);
    CharsMap map = new CharsMap(units);
    map.readEntries(texts, origin);
    return map;
  }

  /**
   * The longest entry that begins at a place.
   *
   * @return how many characters it has in the upper 32 bits and its {@linkplain #replacement
   *     replacement's} number in the lower ones, or {@link #NONE}
   */
  long match(int[] codePoints, int from, int to) {
    long best = NONE;
    int node = ROOT ^ offset(units[ROOT]);
    for (int i = from; i < to; i++) {
      int codePoint = codePoints[i];
      if (codePoint == 0) {
        return best; // no entry holds U+0000, and a leaf's place is reached by a zero byte
      }
      int length = utf8Length(codePoint);
      for (int k = 0; k < length; k++) {
        int value = utf8Byte(codePoint, length, k);
        node ^= value;
        if (label(units[node]) != value) {
          return best;
        }
        int unit = units[node];
        node ^= offset(unit);
        if (k == length - 1 && hasLeaf(unit)) {
          best = (long) (i - from + 1) << 32 | leafValue(units[node]);
        }
      }
    }
    return best;
  }

  /** What replaces an entry. */
  String replacement(long match) {
    return replacements.get((int) match);
  }

  /** Visits every node from the root and reads the replacement of every entry. */
  private void readEntries(byte[] texts, String origin) {
    BitSet seen = new BitSet(units.length);
    int[] open = new int[units.length];
    int count = 0;
    open[count++] = ROOT;
    while (count > 0) {
      int position = open[--count];
      int children = position ^ offset(units[position]);
      if ((children | 0xFF) >= units.length) {
        throw RlhfException.input(origin + ": corrupt: its trie points outside itself");
      }
      if (position != ROOT && hasLeaf(units[position])) {
        int value = leafValue(units[children]);
        replacements.computeIfAbsent(value, start -> text(texts, start, origin));
      }
      for (int label = 1; label < 256; label++) {
        int child = children ^ label;
        // Equal ends of entries share their nodes.
        if (label(units[child]) == label && !seen.get(child)) {
          seen.set(child);
          open[count++] = child;
        }
      }
    }
  }

  private static String text(byte[] texts, int start, String origin) {
    int end = start;
    while (end < texts.length && texts[end] != 0) {
      end++;
    }
    if (end >= texts.length) {
      throw RlhfException.input(origin + ": corrupt: a replacement lies outside the table");
    }
    try {
      return StandardCharsets.UTF_8
          .newDecoder()
          .decode(ByteBuffer.wrap(texts, start, end - start))
          .toString();
    } catch (CharacterCodingException e) {
      throw RlhfException.input(origin + ": corrupt: a replacement is not UTF-8", e);
    }
  }

  private static boolean hasLeaf(int unit) {
    return (unit >>> 8 & 1) == 1;
  }

  private static int leafValue(int unit) {
    return unit & 0x7FFFFFFF;
  }

  /** The byte that leads to a node; no byte for a leaf. */
  private static int label(int unit) {
    return unit & 0x800000FF;
  }

  private static int offset(int unit) {
    return (unit >>> 10) << ((unit & 1 << 9) >>> 6);
  }

  private static int utf8Length(int codePoint) {
    return codePoint < 0x80 ? 1 : codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4;
  }

  private static int utf8Byte(int codePoint, int length, int index) {
    int bits = codePoint >>> 6 * (length - 1 - index);
    if (index > 0) {
      return bits & 0x3F | 0x80;
    }
    return switch (length) {
      case 1 -> bits;
      case 2 -> bits | 0xC0;
      case 3 -> bits | 0xE0;
      default -> bits | 0xF0;
    };
  }
}
