package org.rlhf4j.core.report;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Text measured in terminal columns: 漢字 and emoji take two, combining marks none. */
public final class DisplayText {
  /** What a reader takes for one character, as a letter with its accents. */
  private static final Pattern CHARACTER = Pattern.compile("\\X");

  /** First and last code points that take two columns: Unicode's East Asian Width W and F. */
  private static final int[] WIDE = {
    0x1100, 0x115f, 0x231a, 0x231b, 0x2329, 0x232a, 0x23e9, 0x23ec, 0x23f0, 0x23f0, 0x23f3, 0x23f3,
    0x25fd, 0x25fe, 0x2614, 0x2615, 0x2648, 0x2653, 0x267f, 0x267f, 0x2693, 0x2693, 0x26a1, 0x26a1,
    0x26aa, 0x26ab, 0x26bd, 0x26be, 0x26c4, 0x26c5, 0x26ce, 0x26ce, 0x26d4, 0x26d4, 0x26ea, 0x26ea,
    0x26f2, 0x26f3, 0x26f5, 0x26f5, 0x26fa, 0x26fa, 0x26fd, 0x26fd, 0x2705, 0x2705, 0x270a, 0x270b,
    0x2728, 0x2728, 0x274c, 0x274c, 0x274e, 0x274e, 0x2753, 0x2755, 0x2757, 0x2757, 0x2795, 0x2797,
    0x27b0, 0x27b0, 0x27bf, 0x27bf, 0x2b1b, 0x2b1c, 0x2b50, 0x2b50, 0x2b55, 0x2b55, 0x2e80, 0x303e,
    0x3041, 0x3247, 0x3250, 0x4dbf, 0x4e00, 0xa4cf, 0xa960, 0xa97c, 0xac00, 0xd7a3, 0xf900, 0xfaff,
    0xfe10, 0xfe19, 0xfe30, 0xfe6b, 0xff01, 0xff60, 0xffe0, 0xffe6, 0x16fe0, 0x18d1e, 0x1aff0,
    0x1b2fb, 0x1f004, 0x1f004, 0x1f0cf, 0x1f0cf, 0x1f18e, 0x1f18e, 0x1f191, 0x1f19a, 0x1f200,
    0x1f320, 0x1f32d, 0x1f335, 0x1f337, 0x1f37c, 0x1f37e, 0x1f393, 0x1f3a0, 0x1f3ca, 0x1f3cf,
    0x1f3d3, 0x1f3e0, 0x1f3f0, 0x1f3f4, 0x1f3f4, 0x1f3f8, 0x1f43e, 0x1f440, 0x1f440, 0x1f442,
    0x1f4fc, 0x1f4ff, 0x1f53d, 0x1f54b, 0x1f54e, 0x1f550, 0x1f567, 0x1f57a, 0x1f57a, 0x1f595,
    0x1f596, 0x1f5a4, 0x1f5a4, 0x1f5fb, 0x1f64f, 0x1f680, 0x1f6c5, 0x1f6cc, 0x1f6cc, 0x1f6d0,
    0x1f6d2, 0x1f6d5, 0x1f6df, 0x1f6eb, 0x1f6ec, 0x1f6f4, 0x1f6fc, 0x1f7e0, 0x1f7f0, 0x1f90c,
    0x1f93a, 0x1f93c, 0x1f945, 0x1f947, 0x1f9ff, 0x1fa70, 0x1faff, 0x20000, 0x3fffd
  };

  private DisplayText() {}

  /** Columns that the text takes. */
  public static int width(String text) {
    return text.codePoints().map(DisplayText::width).sum();
  }

  /** The text on one line: newlines as ⏎, tabs as blanks, other control characters as �. */
  public static String oneLine(String text) {
    StringBuilder line = new StringBuilder();
    text.replace("\r\n", "\n")
        .codePoints()
        .map(
            c -> {
              if (c == '\n' || c == 0x2028 || c == 0x2029) {
                return '⏎';
              }
              if (c == '\t') {
                return ' ';
              }
              return changesTheScreen(c) ? '\ufffd' : c;
            })
        .forEach(line::appendCodePoint);
    return line.toString();
  }

  /** Cut to {@code columns} with … where it is wider; never splits a character. */
  public static String cut(String text, int columns) {
    return width(text) <= columns ? text : head(text, columns - 1) + "…";
  }

  /** Cut and filled with blanks to exactly {@code columns}. */
  public static String fit(String text, int columns) {
    String cut = cut(text, columns);
    return cut + " ".repeat(columns - width(cut));
  }

  /** Broken at blanks into lines of at most {@code columns}; a longer word is broken anywhere. */
  public static List<String> wrap(String text, int columns) {
    List<String> lines = new ArrayList<>();
    String rest = text;
    while (width(rest) > columns) {
      String line = head(rest, columns);
      boolean atBlank = rest.startsWith(" ", line.length());
      int blank = atBlank ? line.length() : line.lastIndexOf(' ');
      if (blank > 0) {
        lines.add(rest.substring(0, blank));
        rest = rest.substring(blank + 1);
      } else {
        // Two columns are needed for some characters; taking one at least ends the loop.
        String taken = line.isEmpty() ? rest.substring(0, firstCharacter(rest)) : line;
        lines.add(taken);
        rest = rest.substring(taken.length());
      }
    }
    if (!rest.isEmpty() || lines.isEmpty()) {
      lines.add(rest);
    }
    return lines;
  }

  /** The longest beginning that takes at most {@code columns}. */
  static String head(String text, int columns) {
    Matcher characters = CHARACTER.matcher(text);
    int used = 0;
    int end = 0;
    while (characters.find()) {
      used += width(characters.group());
      if (used > columns) {
        break;
      }
      end = characters.end();
    }
    return text.substring(0, end);
  }

  /** The longest end that takes at most {@code columns}. */
  static String tail(String text, int columns) {
    Matcher characters = CHARACTER.matcher(text);
    int excess = width(text) - columns;
    int start = 0;
    while (excess > 0 && characters.find()) {
      excess -= width(characters.group());
      start = characters.end();
    }
    return text.substring(start);
  }

  private static int firstCharacter(String text) {
    Matcher characters = CHARACTER.matcher(text);
    return characters.find() ? characters.end() : text.length();
  }

  private static int width(int codePoint) {
    if (codePoint < 0x300) {
      return Character.isISOControl(codePoint) || codePoint == 0xad ? 0 : 1;
    }
    int type = Character.getType(codePoint);
    boolean marks =
        type == Character.NON_SPACING_MARK
            || type == Character.ENCLOSING_MARK
            || type == Character.FORMAT
            // Vowels and final consonants that join the Hangul syllable before them.
            || (codePoint >= 0x1160 && codePoint <= 0x11ff);
    if (marks) {
      return 0;
    }
    int place = Arrays.binarySearch(WIDE, codePoint);
    // Not found: -(insertion point) - 1, and an odd insertion point lies within a pair.
    boolean wide = place >= 0 || (-place - 1) % 2 == 1;
    return wide ? 2 : 1;
  }

  /** Escape sequences and overrides of the writing direction in data must not reach a terminal. */
  private static boolean changesTheScreen(int c) {
    return Character.isISOControl(c)
        || (c >= 0x202a && c <= 0x202e)
        || (c >= 0x2066 && c <= 0x2069);
  }
}
