package org.rlhf4j.core.model;

import java.util.List;

/**
 * How a decoder attends.
 *
 * @param heads query heads
 * @param keyValueHeads key and value heads, a divisor of {@code heads}
 * @param headDim width of a head
 * @param scale factor of the scores, usually {@code 1 / sqrt(headDim)}
 * @param projections to queries, keys and values, and from their mixture back
 * @param softcap {@code c} of {@code c tanh(score / c)}, 0 for none
 * @param reach how far tokens see
 */
public record AttentionSpec(
    int heads,
    int keyValueHeads,
    int headDim,
    double scale,
    Projections projections,
    double softcap,
    Reach reach) {

  /**
   * The projections.
   *
   * @param layout of those to queries, keys and values in the checkpoint
   * @param bias whether these have biases
   * @param outputBias whether the output projection has one
   * @param headNorms whether queries and keys are normed head by head before they are rotated
   */
  public record Projections(Layout layout, boolean bias, boolean outputBias, boolean headNorms) {
    /** A weight each, and nothing else. */
    public static final Projections PLAIN = new Projections(Layout.APART, false, false, false);
  }

  /** Where queries, keys and values lie. */
  public enum Layout {
    /** A weight each. */
    APART,
    /** One weight: all queries, then all keys, then all values. */
    STACKED,
    /** One weight: for each head its query, key and value. */
    PER_HEAD
  }

  /**
   * How far tokens see.
   *
   * @param window how many positions a token of a local layer sees, its own among them
   * @param localLayers for each layer whether it is local; empty if none is
   */
  public record Reach(int window, List<Boolean> localLayers) {
    /** Every token sees all before it. */
    public static final Reach FULL = new Reach(0, List.of());

    /** Checks the window. */
    public Reach {
      localLayers = List.copyOf(localLayers);
      if (localLayers.contains(true)) {
        DecoderSpec.requirePositive("the attention window", window);
      }
    }

    /** Whether a layer sees no further than the window. */
    public boolean isLocal(int layer) {
      return !localLayers.isEmpty() && localLayers.get(layer);
    }
  }

  /** Checks the ranges; messages use the usual key names of configurations. */
  public AttentionSpec {
    DecoderSpec.requirePositive("num_attention_heads", heads);
    DecoderSpec.requirePositive("num_key_value_heads", keyValueHeads);
    DecoderSpec.requirePositive("head_dim", headDim);
    if (heads % keyValueHeads != 0) {
      throw new IllegalArgumentException(
          "num_attention_heads must be a multiple of num_key_value_heads, got "
              + heads
              + " and "
              + keyValueHeads);
    }
  }

  /** Attention with the usual scale, as many key heads as query heads, and no end to its reach. */
  public static AttentionSpec plain(int heads, int headDim, Projections projections) {
    return new AttentionSpec(heads, heads, headDim, rootScale(headDim), projections, 0, Reach.FULL);
  }

  /** The width of a head where the heads share the residual stream's among them. */
  static int headDim(int hiddenSize, int heads) {
    if (heads <= 0 || hiddenSize % heads != 0) {
      throw new IllegalArgumentException(
          "hidden_size must be a multiple of num_attention_heads where head_dim is not set, got "
              + hiddenSize
              + " and "
              + heads);
    }
    return hiddenSize / heads;
  }

  /** The usual factor of the scores. */
  public static double rootScale(int headDim) {
    return 1 / Math.sqrt(headDim);
  }

  /** Width of all query heads together. */
  public int width() {
    return heads * headDim;
  }

  /** Width of all key heads together. */
  public int keyWidth() {
    return keyValueHeads * headDim;
  }
}
