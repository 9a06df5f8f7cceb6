package org.rlhf4j.core.checkpoint;

/** Text of a file that may be hostile, fit for one line on a terminal. */
final class Printable {
  private static final int LONGEST = 80;

  private Printable() {}

  /** The text with everything but visible ASCII replaced, and cut where it is long. */
  static String of(String text) {
    boolean cut = text.length() > LONGEST;
    String shown = cut ? text.substring(0, LONGEST) : text;
    return shown.replaceAll("[^\\x20-\\x7e]", "?") + (cut ? "…" : "");
  }
}
