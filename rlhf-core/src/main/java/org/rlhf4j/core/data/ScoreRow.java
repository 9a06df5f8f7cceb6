package org.rlhf4j.core.data;

import java.util.List;

/** A row to score: one document, both sides of a pair, or all responses to a prompt. */
public sealed interface ScoreRow {
  /** One document, the chosen and the rejected one, or the responses in their order. */
  List<TokenRow> sides();

  /** One document. */
  record Single(TokenRow row) implements ScoreRow {
    @Override
    public List<TokenRow> sides() {
      return List.of(row);
    }
  }

  /**
   * The responses to a prompt, each behind it.
   *
   * @param index the prompt's number, as the row has it
   */
  record Responses(int index, List<TokenRow> sides) implements ScoreRow {}

  /** A preferred and a rejected document. */
  record Pair(TokenRow chosen, TokenRow rejected) implements ScoreRow {
    @Override
    public List<TokenRow> sides() {
      return List.of(chosen, rejected);
    }
  }
}
