package org.rlhf4j.ppo.rollout;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.Overlong;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.train.RewardFunction.Completion;

/** The data set's own answers to its prompts: the completion, the chosen one, the last message. */
final class Answers {
  private Answers() {}

  /**
   * Reads the answers to prompts that were read from the same files.
   *
   * @param encoder that read the prompts
   * @param between called every few hundred rows; what it throws ends the loading
   * @return by the prompt's index
   * @throws RlhfException where a prompt has no answer
   */
  static Map<Integer, Completion> load(
      List<Path> paths, EncodedDataset<PromptRow> prompts, RowEncoder encoder, Runnable between) {
    RowEncoder.Options options = encoder.options();
    RowEncoder whole =
        encoder.with(
            new RowEncoder.Options(
                options.template(), Integer.MAX_VALUE, Overlong.ERROR, false, true));
    Map<Integer, TokenRow> rows = rows(paths, whole, between);
    Map<Integer, Completion> answers = new HashMap<>();
    for (int i = 0; i < prompts.size(); i++) {
      PromptRow prompt = prompts.rows().get(i);
      TokenRow row = rows.get(prompt.index());
      Completion answer = row == null ? null : answer(prompt, row, encoder.tokenizer());
      if (answer == null) {
        throw RlhfException.input(
            ("delta_reward true: %s has no answer to its prompt; needed is a completion, a chosen"
                    + " one, or a last message of the assistant")
                .formatted(prompts.origins().get(i)));
      }
      answers.put(prompt.index(), answer);
    }
    return answers;
  }

  /** The rows that have an answer, by their index; the prompts were checked when they were read. */
  private static Map<Integer, TokenRow> rows(
      List<Path> paths, RowEncoder encoder, Runnable between) {
    EncodedDataset<TokenRow> read;
    try {
      read = EncodedDataset.loadRows(paths, encoder, Integer.MAX_VALUE, between);
    } catch (RlhfException e) {
      throw RlhfException.input("delta_reward true: no answer to a prompt: " + e.getMessage(), e);
    }
    Map<Integer, TokenRow> rows = new HashMap<>();
    for (int i = 0; i < read.size(); i++) {
      rows.put(read.origins().get(i).index(), read.rows().get(i));
    }
    return rows;
  }

  /** What a row has behind its prompt; null where its last targets are a part of the prompt. */
  private static Completion answer(PromptRow prompt, TokenRow row, Tokenizer tokenizer) {
    int end = row.length();
    while (!row.targets()[end - 1]) {
      end--;
    }
    int from = end;
    while (row.targets()[from - 1]) {
      from--;
    }
    // A token may reach over the end of the prompt, which then is read otherwise by itself.
    int different = Arrays.mismatch(prompt.ids(), row.ids());
    if (different < 0 || from < different) {
      return null;
    }
    return new Completion(
        prompt.index(),
        0,
        prompt.text(),
        text(row.ids(), from, end, tokenizer),
        prompt.ids(),
        Arrays.copyOfRange(row.ids(), from, end));
  }

  /** Decoded behind what stands before it: some decoders strip a space at the start of a text. */
  private static String text(int[] ids, int from, int end, Tokenizer tokenizer) {
    if (tokenizer == null) {
      return "";
    }
    String before = tokenizer.decode(Arrays.copyOf(ids, from));
    String whole = tokenizer.decode(Arrays.copyOf(ids, end));
    return whole.startsWith(before)
        ? whole.substring(before.length())
        : tokenizer.decode(Arrays.copyOfRange(ids, from, end));
  }
}
