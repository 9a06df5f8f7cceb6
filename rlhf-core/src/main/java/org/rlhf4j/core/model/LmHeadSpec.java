package org.rlhf4j.core.model;

/**
 * The language-model head.
 *
 * @param tied whether its weight is the embedding
 * @param bias whether it has a bias
 * @param softcap {@code c} of {@code c tanh(logit / c)}, 0 for none
 */
public record LmHeadSpec(boolean tied, boolean bias, double softcap) {
  /** A head without bias and cap. */
  public static LmHeadSpec plain(boolean tied) {
    return new LmHeadSpec(tied, false, 0);
  }
}
