package org.rlhf4j.core.report;

import java.util.List;

/** Text measured in terminal columns: 漢字 and emoji take two, combining marks none. */
public final class DisplayText {
  private DisplayText() {}

  /** Columns that the text takes. */
  public static int width(String text) {
    throw new UnsupportedOperationException();
  }

  /** The text on one line: newlines as ⏎, tabs as blanks, other control characters as �. */
  public static String oneLine(String text) {
    throw new UnsupportedOperationException();
  }

  /** Cut to {@code columns} with … where it is wider; never splits a character. */
  public static String cut(String text, int columns) {
    throw new UnsupportedOperationException();
  }

  /** Cut and filled with blanks to exactly {@code columns}. */
  public static String fit(String text, int columns) {
    throw new UnsupportedOperationException();
  }

  /** Broken at blanks into lines of at most {@code columns}; a longer word is broken anywhere. */
  public static List<String> wrap(String text, int columns) {
    throw new UnsupportedOperationException();
  }
}
