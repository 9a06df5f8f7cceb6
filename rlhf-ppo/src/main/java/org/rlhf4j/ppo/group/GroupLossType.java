package org.rlhf4j.ppo.group;

import java.util.Arrays;

/** How the losses of tokens become the loss of a batch, under TRL's names. */
public enum GroupLossType {
  /** Mean over responses of their means over tokens (Shao et al. 2024): long ones count less. */
  GRPO {
    @Override
    double weight(int length, Part part, Batch batch) {
      return 1.0 / batch.responses / length;
    }
  },
  /** Mean over the tokens of each part that is computed at once; parts count by responses. */
  BNPO {
    @Override
    double weight(int length, Part part, Batch batch) {
      return (double) part.responses / batch.responses / part.tokens;
    }
  },
  /** Sum over tokens, divided by responses times the longest length allowed (Liu et al. 2025). */
  DR_GRPO {
    @Override
    double weight(int length, Part part, Batch batch) {
      return 1.0 / batch.responses / batch.maxLength;
    }
  },
  /** Mean over all tokens of the optimizer step (Yu et al. 2025). */
  DAPO {
    @Override
    double weight(int length, Part part, Batch batch) {
      return 1.0 / batch.tokens;
    }
  };

  /**
   * What one optimizer step learns from.
   *
   * @param responses how many
   * @param tokens of all responses together
   * @param maxLength the longest response that sampling allows, in tokens
   */
  public record Batch(int responses, int tokens, int maxLength) {}

  /**
   * What is computed side by side.
   *
   * @param responses how many
   * @param tokens of all responses together
   */
  public record Part(int responses, int tokens) {}

  abstract double weight(int length, Part part, Batch batch);

  /**
   * The weight of every token. A loss is the sum of token losses times their weights, so the losses
   * of a batch's parts add up to that of the batch.
   *
   * @param lengths of the responses at hand, in tokens
   * @param part what they are computed in
   * @param batch the whole
   * @return {@code [tokens]}, response after response
   */
  public double[] weights(int[] lengths, Part part, Batch batch) {
    double[] weights = new double[Arrays.stream(lengths).sum()];
    int start = 0;
    for (int length : lengths) {
      Arrays.fill(weights, start, start + length, weight(length, part, batch));
      start += length;
    }
    return weights;
  }
}
