package org.rlhf4j.core.model;

/**
 * The two or three layers of a block's MLP.
 *
 * @param width of the layer between
 * @param activation on it
 * @param gate whether a second projection is multiplied by the activated one
 * @param bias whether all of its projections have biases
 */
public record MlpSpec(int width, Activation activation, Gate gate, boolean bias) {

  /** Functions on the layer between; the kernel knows them by their place. */
  public enum Activation {
    /** {@code x sigmoid(x)}. */
    SILU,
    /** GELU by its approximation with tanh (gelu_new, gelu_pytorch_tanh). */
    GELU_TANH,
    /** GELU by the error function. */
    GELU,
    /** {@code max(x, 0)}. */
    RELU
  }

  /** Where the gate's projection lies. */
  public enum Gate {
    /** There is none. */
    NONE,
    /** Gate and up are a weight each. */
    APART,
    /** One weight: gate, then up. */
    STACKED
  }

  /** Two projections with biases. */
  public static MlpSpec plain(int width, Activation activation) {
    return new MlpSpec(width, activation, Gate.NONE, true);
  }

  /** Checks the width. */
  public MlpSpec {
    DecoderSpec.requirePositive("intermediate_size", width);
  }
}
