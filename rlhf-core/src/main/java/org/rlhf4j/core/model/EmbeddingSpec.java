package org.rlhf4j.core.model;

/**
 * What happens to a token before the first block.
 *
 * @param width of the table; where it is not the residual stream's, projections lead in and out
 * @param scale factor of the table's rows
 * @param norm whether they are normed
 */
public record EmbeddingSpec(int width, double scale, boolean norm) {
  /** A table as wide as the residual stream, and nothing else. */
  public static EmbeddingSpec plain(int hiddenSize) {
    return new EmbeddingSpec(hiddenSize, 1, false);
  }

  /** Checks the width. */
  public EmbeddingSpec {
    DecoderSpec.requirePositive("the embedding's width", width);
  }
}
