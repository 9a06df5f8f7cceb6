package org.rlhf4j.core.text;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The text form of Anthropic's HH data, {@code \n\nHuman: …\n\nAssistant: …}, and LMFlow's
 * rewriting of it, {@code ###Human: …###Assistant: …}.
 */
public final class HhDialogue {
  private static final String ANSWER = "\n\nAssistant:";
  private static final String HASH_ANSWER = "###Assistant:";
  private static final String HASH_START = "###Human:";
  private static final Pattern HEADER = Pattern.compile("\n\n(Human|Assistant):");

  private HhDialogue() {}

  /** Where the last answer begins, right after its {@code \n\nAssistant:}; -1 if there is none. */
  public static int promptEnd(String dialogue) {
    int header = dialogue.lastIndexOf(ANSWER);
    return header < 0 ? -1 : header + ANSWER.length();
  }

  /** As {@link #promptEnd}, in the rewritten form. */
  public static int hashPromptEnd(String dialogue) {
    int header = dialogue.lastIndexOf(HASH_ANSWER);
    return header < 0 ? -1 : header + HASH_ANSWER.length();
  }

  /**
   * Whether {@link #toHash} knows the form: it starts with a turn of HH or is rewritten already.
   */
  public static boolean isDialogue(String text) {
    return text.startsWith(HASH_START) || HEADER.matcher(text).lookingAt();
  }

  /**
   * Rewrites a dialogue: each turn as its header, one space and the stripped text, nothing between
   * turns and nothing after an open header. A rewritten dialogue comes back as it is.
   *
   * @throws IllegalArgumentException if the text is no {@linkplain #isDialogue dialogue}
   */
  public static String toHash(String dialogue) {
    if (!isDialogue(dialogue)) {
      throw new IllegalArgumentException("not a dialogue of the form \\n\\nHuman: …");
    }
    if (dialogue.startsWith(HASH_START)) {
      return dialogue;
    }
    StringBuilder rewritten = new StringBuilder();
    Matcher header = HEADER.matcher(dialogue);
    boolean found = header.find();
    while (found) {
      String role = header.group(1);
      int from = header.end();
      found = header.find();
      String content = dialogue.substring(from, found ? header.start() : dialogue.length()).strip();
      rewritten.append("###").append(role).append(':');
      if (!content.isEmpty()) {
        rewritten.append(' ').append(content);
      }
    }
    return rewritten.toString();
  }
}
