package org.rlhf4j.ppo.rollout;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.rlhf4j.core.train.StopSignal;

/**
 * Prompts of a data set, those left out that would have no room for a response.
 *
 * @param answers the data set's own, by the prompt's index; empty but for a delta reward
 */
public record OnlinePrompts(EncodedDataset<PromptRow> data, Map<Integer, Completion> answers) {

  /** Tokens of the longest prompt with its answer; 0 without answers. */
  public int longestAnswered() {
    return answers.values().stream()
        .mapToInt(answer -> answer.promptIds().length + answer.ids().length)
        .max()
        .orElse(0);
  }

  /**
   * Reads files.
   *
   * @param encoder see {@link org.rlhf4j.core.train.TrainingRun#promptEncoder}
   * @param withAnswers for a delta reward
   * @throws StopSignal.Stopped where somebody asked to stop
   */
  public static OnlinePrompts load(
      List<Path> paths,
      RowEncoder encoder,
      TrainingConfig training,
      boolean withAnswers,
      StopSignal stop) {
    EncodedDataset<PromptRow> data =
        EncodedDataset.loadPrompts(paths, encoder, training.maxBadRows(), stop::check);
    return new OnlinePrompts(
        data, withAnswers ? Answers.load(paths, data, encoder, stop::check) : Map.of());
  }
}
