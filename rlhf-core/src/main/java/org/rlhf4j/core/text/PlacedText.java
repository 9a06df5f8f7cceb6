package org.rlhf4j.core.text;

import java.util.Arrays;

/** Text that grows at its end, with the place in another text that each code point stands for. */
final class PlacedText {
  private int[] codePoints = new int[64];
  private int[] starts = new int[64];
  private int[] ends = new int[64];
  private int length;

  /** How many code points there are. */
  int length() {
    return length;
  }

  int codePoint(int index) {
    return codePoints[index];
  }

  /** All code points; what lies behind {@link #length()} means nothing. */
  int[] codePoints() {
    return codePoints;
  }

  /** The text between two code points. */
  String substring(int from, int to) {
    return new String(codePoints, from, to - from);
  }

  /** Where the code point's place begins. */
  int start(int index) {
    return starts[index];
  }

  /** Where the code point's place ends, exclusive. */
  int end(int index) {
    return ends[index];
  }

  void append(int codePoint, int start, int end) {
    if (length == codePoints.length) {
      codePoints = Arrays.copyOf(codePoints, 2 * length);
      starts = Arrays.copyOf(starts, 2 * length);
      ends = Arrays.copyOf(ends, 2 * length);
    }
    codePoints[length] = codePoint;
    starts[length] = start;
    ends[length] = end;
    length++;
  }

  /** Appends a string that as a whole stands for one place. */
  void append(String text, int start, int end) {
    text.codePoints().forEach(codePoint -> append(codePoint, start, end));
  }

  void appendAll(PlacedText other) {
    for (int i = 0; i < other.length; i++) {
      append(other.codePoints[i], other.starts[i], other.ends[i]);
    }
  }

  /** Moves the end of the last code point's place. */
  void extendLastTo(int end) {
    ends[length - 1] = end;
  }

  /** Where a stretch of code points begins. */
  int startOf(int from) {
    if (from < length) {
      return starts[from];
    }
    return length == 0 ? 0 : ends[length - 1];
  }

  /** Where a stretch of code points ends, exclusive. */
  int endOf(int from, int to) {
    return to > from ? ends[to - 1] : startOf(from);
  }

  void clear() {
    length = 0;
  }

  /** Drops what lies behind the first code points. */
  void cutTo(int newLength) {
    length = newLength;
  }

  @Override
  public String toString() {
    return new String(codePoints, 0, length);
  }
}
