package org.rlhf4j.core.data;

import java.util.List;
import org.rlhf4j.core.text.Message;

/** A row of a data file in one of the forms that the trainers take. */
public sealed interface Example {
  /** Where the row stands. */
  RowOrigin origin();

  /** Column {@code text}: all tokens are targets. */
  record Text(RowOrigin origin, String text) implements Example {}

  /** Column {@code prompt} alone, for generation. */
  record Prompt(RowOrigin origin, String prompt) implements Example {}

  /** Columns {@code prompt} and {@code completion}, concatenated as they are. */
  record Completion(RowOrigin origin, String prompt, String completion) implements Example {}

  /** Column {@code messages}: a conversation for a template. */
  record Conversation(RowOrigin origin, List<Message> messages) implements Example {}

  /** Columns {@code prompt}, {@code chosen}, {@code rejected}; both answers follow the prompt. */
  record Preference(RowOrigin origin, String prompt, String chosen, String rejected, double margin)
      implements Example {}

  /** Columns {@code chosen}, {@code rejected}: whole dialogues in the form of the HH data. */
  record Dialogues(RowOrigin origin, String chosen, String rejected, double margin)
      implements Example {}

  /** Column {@code input_ids}, with or without {@code labels}. */
  record Tokens(RowOrigin origin, TokenRow row) implements Example {}

  /**
   * Columns {@code index}, {@code responses} and the prompt of these, as {@code generate} writes
   * them.
   *
   * @param index the prompt's number, as the row has it
   * @param responses at least one
   */
  record Responses(RowOrigin origin, int index, List<Response> responses) implements Example {}

  /**
   * A response and its prompt, as texts, as ids or both; null where the one or the other is not
   * known.
   */
  record Response(String prompt, String text, int[] promptIds, int[] ids) {}

  /** Columns {@code chosen_input_ids}, {@code rejected_input_ids}. */
  record TokensPreference(RowOrigin origin, TokenPair pair) implements Example {}
}
