package org.rlhf4j.core.config;

/** A configuration record with rules that span several keys. */
public interface Checked {
  /**
   * Adds one problem per broken rule. It is called on every record that is loaded; where a key
   * could not be read its default stands in (null, 0 or false for a key without one), so that all
   * problems are found at once.
   *
   * @param problems takes what was found
   */
  void check(Problems problems);
}
