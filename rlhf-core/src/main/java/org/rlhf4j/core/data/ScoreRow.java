package org.rlhf4j.core.data;

import java.util.List;

/** A row to score: one document, or both sides of a pair. */
public sealed interface ScoreRow {
  /** One document, or the chosen and the rejected one. */
  List<TokenRow> sides();

  /** One document. */
  record Single(TokenRow row) implements ScoreRow {
    @Override
    public List<TokenRow> sides() {
      return List.of(row);
    }
  }

  /** A preferred and a rejected document. */
  record Pair(TokenRow chosen, TokenRow rejected) implements ScoreRow {
    @Override
    public List<TokenRow> sides() {
      return List.of(chosen, rejected);
    }
  }
}
