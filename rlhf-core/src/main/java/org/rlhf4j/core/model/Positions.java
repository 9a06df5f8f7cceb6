package org.rlhf4j.core.model;

/** How a decoder knows where a token stands. */
public sealed interface Positions {

  /**
   * Queries and keys are rotated.
   *
   * @param rope the angles
   * @param dimensions how many of a head's dimensions are rotated, the first ones; even
   * @param neighbours whether a pair is (2i, 2i + 1) and not (i, i + dimensions / 2)
   */
  record Rotary(Rope rope, int dimensions, boolean neighbours) implements Positions {
    /** Checks the dimensions. */
    public Rotary {
      if (dimensions <= 0 || dimensions % 2 != 0) {
        throw new IllegalArgumentException(
            "the rotated dimensions of a head must be even and positive, got " + dimensions);
      }
    }
  }

  /**
   * A table of vectors, added to the embedding.
   *
   * @param offset the row of position 0
   */
  record Learned(int offset) implements Positions {}

  /** Scores fall with the distance, for each head at its own slope (Press et al., 2022). */
  record Alibi() implements Positions {
    /**
     * The slopes: for a power of two of heads a geometric sequence from {@code 2^(-8 / heads)};
     * beyond the largest power of two below, every second one of the next power's sequence.
     */
    static double[] slopes(int heads) {
      int power = Integer.highestOneBit(heads);
      double[] slopes = new double[heads];
      for (int i = 0; i < heads; i++) {
        slopes[i] =
            i < power
                ? Math.pow(2, -8.0 / power * (i + 1))
                : Math.pow(2, -4.0 / power * (2 * (i - power) + 1));
      }
      return slopes;
    }
  }
}
