package org.rlhf4j.core.data;

/** What happens to a row that is longer than {@code max_length}; always counted. */
public enum Overlong {
  /** The row keeps its start. */
  TRUNCATE,
  /** The row is left out. */
  DROP,
  /** Reading stops with an error that names the row. */
  ERROR
}
