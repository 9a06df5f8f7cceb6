package org.rlhf4j.core.model;

/**
 * The norms of a decoder.
 *
 * @param kind of all of them
 * @param epsilon under their roots
 * @param last whether one stands behind the last block
 */
public record NormSpec(Kind kind, double epsilon, boolean last) {

  /** What a norm computes. */
  public enum Kind {
    /** {@code x / rms(x) * w} (Zhang and Sennrich, 2019). */
    RMS,
    /** {@code x / rms(x) * (1 + w)}. */
    RMS_PLUS_ONE,
    /** {@code (x - mean(x)) / std(x) * w + b} (Ba et al., 2016). */
    LAYER
  }

  /** Checks epsilon. */
  public NormSpec {
    if (!(epsilon >= 0) || Double.isInfinite(epsilon)) {
      throw new IllegalArgumentException("the norm's epsilon must be 0 or more, got " + epsilon);
    }
  }

  /** Whether norms have a bias beside their weight. */
  public boolean hasBias() {
    return kind == Kind.LAYER;
  }
}
