package org.rlhf4j.core.model;

/**
 * Everything that decides what a decoder computes, apart from its weights.
 *
 * @param family {@code model_type} of the configuration
 * @param vocabularySize rows of the embedding
 * @param hiddenSize width of the residual stream
 * @param layers number of blocks
 * @param maxPositions longest row the model was made for
 * @param attention of every block
 * @param mlp of every block
 * @param norm of all kinds
 * @param residual how a block is put together
 * @param positions how order is known
 * @param embedding before the first block
 * @param head on top
 * @param transposed whether the weights of the projections lie {@code [in, out]} in the checkpoint
 */
public record DecoderSpec(
    String family,
    int vocabularySize,
    int hiddenSize,
    int layers,
    int maxPositions,
    AttentionSpec attention,
    MlpSpec mlp,
    NormSpec norm,
    Residual residual,
    Positions positions,
    EmbeddingSpec embedding,
    LmHeadSpec head,
    boolean transposed) {

  // Far beyond any model; keeps a corrupt configuration from filling the memory with names.
  private static final int MOST_LAYERS = 10_000;

  /** Checks the ranges; messages use the usual key names of configurations. */
  public DecoderSpec {
    requirePositive("vocab_size", vocabularySize);
    requirePositive("hidden_size", hiddenSize);
    requireLayers("num_hidden_layers", layers);
    requirePositive("max_position_embeddings", maxPositions);
    if (!attention.reach().localLayers().isEmpty()
        && attention.reach().localLayers().size() != layers) {
      throw new IllegalArgumentException(
          "there are kinds of attention for "
              + attention.reach().localLayers().size()
              + " layers, but the model has "
              + layers);
    }
    if (positions instanceof Positions.Rotary rotary && rotary.dimensions() > attention.headDim()) {
      throw new IllegalArgumentException(
          rotary.dimensions()
              + " dimensions of a head are rotated, but it has "
              + attention.headDim());
    }
  }

  static void requirePositive(String key, int value) {
    if (value <= 0) {
      throw new IllegalArgumentException(key + " must be positive, got " + value);
    }
  }

  static void requireLayers(String key, int value) {
    requirePositive(key, value);
    if (value > MOST_LAYERS) {
      throw new IllegalArgumentException(
          key + " must be at most " + MOST_LAYERS + ", got " + value);
    }
  }

  /** The same decoder with a language-model head of its own. */
  DecoderSpec withOwnHead() {
    return new DecoderSpec(
        family,
        vocabularySize,
        hiddenSize,
        layers,
        maxPositions,
        attention,
        mlp,
        norm,
        residual,
        positions,
        embedding,
        new LmHeadSpec(false, head.bias(), head.softcap()),
        transposed);
  }

  /** Whether projections lead from the embedding's width to the residual stream's and back. */
  boolean isProjected() {
    return embedding.width() != hiddenSize;
  }
}
