package org.rlhf4j.core.data;

import java.util.List;

/**
 * Documents that share one training row. No document attends to another, and positions restart at
 * each.
 *
 * @param documents at least one
 */
public record PackedRow(List<TokenRow> documents) {
  /** Copies the list. */
  public PackedRow {
    documents = List.copyOf(documents);
  }

  /** The number of tokens of all documents. */
  public int length() {
    return documents.stream().mapToInt(TokenRow::length).sum();
  }

  /** The number of target tokens of all documents. */
  public int targetCount() {
    return documents.stream().mapToInt(TokenRow::targetCount).sum();
  }
}
