package org.rlhf4j.core.text;

import java.util.ArrayList;
import java.util.List;

/**
 * Decodes ids one at a time and gives text out as soon as its characters are complete. Special
 * tokens are skipped. Not safe for use by several threads.
 */
public final class TokenStream {
  /** What the decoder puts in place of bytes that are no character (yet). */
  private static final String REPLACEMENT = "\uFFFD";

  private final Tokenizer tokenizer;
  private final List<Integer> ids = new ArrayList<>();

  // Only a window is decoded: the tokens of the last text given out, which the new ones may join
  // with (a leading space is stripped at the start of a text only), and those since.
  private int windowStart;
  private int givenOut;

  TokenStream(Tokenizer tokenizer) {
    this.tokenizer = tokenizer;
  }

  /** The text that this id completes; empty while a character is unfinished. */
  public String push(int id) {
    ids.add(id);
    String before = decode(windowStart, givenOut);
    String now = decode(windowStart, ids.size());
    if (now.length() <= before.length() || now.endsWith(REPLACEMENT)) {
      return "";
    }
    windowStart = givenOut;
    givenOut = ids.size();
    return now.substring(before.length());
  }

  /** The text still held back, at the end of the ids: unfinished characters as U+FFFD. */
  public String finish() {
    String before = decode(windowStart, givenOut);
    String now = decode(windowStart, ids.size());
    windowStart = ids.size();
    givenOut = ids.size();
    return now.length() <= before.length() ? "" : now.substring(before.length());
  }

  private String decode(int from, int to) {
    return tokenizer.decode(ids.subList(from, to).stream().mapToInt(Integer::intValue).toArray());
  }
}
