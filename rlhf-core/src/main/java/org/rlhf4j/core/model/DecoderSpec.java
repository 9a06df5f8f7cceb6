package org.rlhf4j.core.model;

/**
 * Everything that decides what a decoder computes, apart from its weights.
 *
 * @param family {@code model_type} of the configuration
 * @param vocabularySize rows of the embedding
 * @param hiddenSize width of the residual stream
 * @param intermediateSize width of the gated MLP
 * @param layers number of blocks
 * @param heads query heads
 * @param keyValueHeads key and value heads, a divisor of {@code heads}
 * @param headDim width of a head, even
 * @param maxPositions longest row the model was made for
 * @param normEpsilon epsilon of the RMS norms
 * @param rope rotary position embedding
 * @param attentionBias whether the four attention projections have biases
 * @param mlpBias whether the three MLP projections have biases
 * @param tiedHead whether the language-model head is the embedding
 */
public record DecoderSpec(
    String family,
    int vocabularySize,
    int hiddenSize,
    int intermediateSize,
    int layers,
    int heads,
    int keyValueHeads,
    int headDim,
    int maxPositions,
    double normEpsilon,
    Rope rope,
    boolean attentionBias,
    boolean mlpBias,
    boolean tiedHead) {

  // Far beyond any model; keeps a corrupt configuration from filling the memory with names.
  private static final int MOST_LAYERS = 10_000;

  /** Checks the ranges; messages use the configuration's key names. */
  public DecoderSpec {
    requirePositive("vocab_size", vocabularySize);
    requirePositive("hidden_size", hiddenSize);
    requirePositive("intermediate_size", intermediateSize);
    requirePositive("num_hidden_layers", layers);
    requirePositive("num_attention_heads", heads);
    requirePositive("num_key_value_heads", keyValueHeads);
    requirePositive("head_dim", headDim);
    requirePositive("max_position_embeddings", maxPositions);
    if (layers > MOST_LAYERS) {
      throw new IllegalArgumentException(
          "num_hidden_layers must be at most " + MOST_LAYERS + ", got " + layers);
    }
    if (heads % keyValueHeads != 0) {
      throw new IllegalArgumentException(
          "num_attention_heads must be a multiple of num_key_value_heads, got "
              + heads
              + " and "
              + keyValueHeads);
    }
    if (headDim % 2 != 0) {
      throw new IllegalArgumentException("head_dim must be even, got " + headDim);
    }
    if (!(normEpsilon >= 0) || Double.isInfinite(normEpsilon)) {
      throw new IllegalArgumentException("rms_norm_eps must be 0 or more, got " + normEpsilon);
    }
  }

  private static void requirePositive(String key, int value) {
    if (value <= 0) {
      throw new IllegalArgumentException(key + " must be positive, got " + value);
    }
  }
}
