package org.rlhf4j.core.text;

/** What is done to a text before the engine splits it. */
@FunctionalInterface
interface Preparation {
  /** The engine takes the text as it is. */
  Preparation NONE = (section, first, out) -> out.appendAll(section);

  /**
   * Appends one section in the form in which the engine takes it.
   *
   * @param section text without any special token
   * @param first whether no text and no token stands before it
   */
  void append(PlacedText section, boolean first, PlacedText out);
}
