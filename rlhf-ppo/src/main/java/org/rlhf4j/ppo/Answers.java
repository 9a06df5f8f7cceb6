package org.rlhf4j.ppo;

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
   * @return by the prompt's index
   * @throws RlhfException where a prompt has no answer
   */
  static Map<Integer, Completion> load(
      List<Path> paths, EncodedDataset<PromptRow> prompts, RowEncoder encoder, int maxBadRows) {
    RowEncoder.Options options = encoder.options();
    RowEncoder whole =
        encoder.with(
            new RowEncoder.Options(
                options.template(), Integer.MAX_VALUE, Overlong.ERROR, false, true));
    EncodedDataset<TokenRow> rows = EncodedDataset.loadRows(paths, whole, maxBadRows);
    Map<Integer, int[]> idsByIndex = new HashMap<>();
    Map<Integer, String> textByIndex = new HashMap<>();
    for (int i = 0; i < rows.size(); i++) {
      TokenRow row = rows.rows().get(i);
      int end = row.length();
      while (!row.targets()[end - 1]) {
        end--;
      }
      int from = end;
      while (row.targets()[from - 1]) {
        from--;
      }
      int index = rows.origins().get(i).index();
      idsByIndex.put(index, Arrays.copyOfRange(row.ids(), from, end));
      textByIndex.put(index, text(row.ids(), from, end, encoder.tokenizer()));
    }
    Map<Integer, Completion> answers = new HashMap<>();
    for (int i = 0; i < prompts.size(); i++) {
      PromptRow prompt = prompts.rows().get(i);
      int[] ids = idsByIndex.get(prompt.index());
      if (ids == null) {
        throw RlhfException.input(
            "delta_reward true: %s has no answer to its prompt"
                .formatted(prompts.origins().get(i)));
      }
      answers.put(
          prompt.index(),
          new Completion(
              prompt.index(),
              0,
              prompt.text(),
              textByIndex.get(prompt.index()),
              prompt.ids(),
              ids));
    }
    return answers;
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
