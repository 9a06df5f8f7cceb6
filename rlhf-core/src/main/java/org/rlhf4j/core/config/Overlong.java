package org.rlhf4j.core.config;

/** What becomes of a row with more than max_length tokens; always counted and shown. */
public enum Overlong {
  /** The row is left out. */
  DROP,
  /** The row keeps its first max_length tokens. */
  TRUNCATE,
  /** The run does not start. */
  ERROR
}
