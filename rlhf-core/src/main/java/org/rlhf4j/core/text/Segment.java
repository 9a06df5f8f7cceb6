package org.rlhf4j.core.text;

/**
 * A stretch of rendered text.
 *
 * @param text the characters
 * @param target whether the tokens of this stretch are predicted and scored
 * @param markup true for what a template wrote: strings of special tokens in it are these tokens.
 *     False for people's text, in which they are plain characters
 */
public record Segment(String text, boolean target, boolean markup) {
  /** Text that a person or model wrote. */
  public static Segment text(String text, boolean target) {
    return new Segment(text, target, false);
  }

  /** Text that a template wrote. */
  public static Segment markup(String text, boolean target) {
    return new Segment(text, target, true);
  }
}
