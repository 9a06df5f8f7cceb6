package org.rlhf4j.core.data;

/**
 * What became of a row.
 *
 * @param <T> the encoded form
 */
public sealed interface Encoded<T> {
  /** The longest side's number of tokens before anything was cut; 0 for a bad row. */
  int length();

  /**
   * A row to use.
   *
   * @param value the encoded row
   * @param length tokens before cutting
   * @param truncated whether it was cut to the limit
   * @param prefixMismatch whether the prompt's ids alone differ from the beginning of the whole
   */
  record Kept<T>(T value, int length, boolean truncated, boolean prefixMismatch)
      implements Encoded<T> {}

  /** A sound row left out by rule, for example as too long. */
  record Dropped<T>(String reason, int length) implements Encoded<T> {}

  /** A row that cannot be used. */
  record Bad<T>(String reason) implements Encoded<T> {
    @Override
    public int length() {
      return 0;
    }
  }
}
