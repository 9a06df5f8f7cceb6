package org.rlhf4j.core.data;

/**
 * A row that cannot be used.
 *
 * @param origin where it stands
 * @param reason what is wrong with it
 */
public record BadRow(RowOrigin origin, String reason) {
  @Override
  public String toString() {
    return origin + ": " + reason;
  }
}
