package org.rlhf4j.core.train;

import java.util.function.Consumer;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.text.Tokenizer;

/** How the rows of a run become token ids, and how long they may be. */
final class RunRows {
  private final TrainingConfig training;
  private final Tokenizer tokenizer;
  private final Consumer<String> warnings;
  private boolean contextNamed;

  /**
   * As the keys of a run say.
   *
   * @param tokenizer null where the model's folder has none
   * @param warnings told once where the model's context is what limits rows
   */
  RunRows(TrainingConfig training, Tokenizer tokenizer, Consumer<String> warnings) {
    this.training = training;
    this.tokenizer = tokenizer;
    this.warnings = warnings;
  }

  /** See {@link TrainingRun#longestRow}. */
  int longest(DecoderSpec spec) {
    if (training.maxLength() <= spec.maxPositions()) {
      return training.maxLength();
    }
    if (!contextNamed) {
      contextNamed = true;
      warnings.accept(
          "max_length "
              + training.maxLength()
              + " is more than the model's context, max_position_embeddings "
              + spec.maxPositions()
              + "; rows are limited to that");
    }
    return spec.maxPositions();
  }

  /** See {@link TrainingRun#encoder}. */
  RowEncoder encoder(DecoderSpec spec) {
    return encoder(spec, longest(spec)).limitedBy(limit(spec));
  }

  /** See {@link TrainingRun#promptEncoder}. */
  RowEncoder promptEncoder(DecoderSpec spec, int maxNewTokens) {
    int longest = longest(spec) - maxNewTokens;
    if (longest < 1) {
      throw RlhfException.config(
          ("max_new_tokens %d: leaves no room for a prompt in %d tokens, the lesser of max_length"
                  + " and the model's context")
              .formatted(maxNewTokens, longest(spec)));
    }
    return encoder(spec, longest)
        .limitedBy(limit(spec) + ", of which max_new_tokens takes " + maxNewTokens);
  }

  private String limit(DecoderSpec spec) {
    return training.maxLength() <= spec.maxPositions()
        ? "max_length is " + training.maxLength()
        : "the model's context (max_position_embeddings) is " + spec.maxPositions();
  }

  private RowEncoder encoder(DecoderSpec spec, int longest) {
    return new RowEncoder(
        tokenizer,
        spec.vocabularySize(),
        new RowEncoder.Options(
            training.template(), longest, training.overlong(), training.appendEos(), true));
  }
}
