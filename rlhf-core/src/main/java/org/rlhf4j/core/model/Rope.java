package org.rlhf4j.core.model;

/**
 * Rotary position embedding (Su et al., 2021): pair i of a head is turned by {@code position *
 * inverseFrequencies[i]}.
 *
 * @param theta base of the frequencies
 * @param scaling how the frequencies are stretched for longer texts
 */
public record Rope(double theta, Scaling scaling) {

  /** How frequencies are stretched. */
  public sealed interface Scaling {}

  /** Frequencies as they are. */
  public record Unscaled() implements Scaling {}

  /**
   * Every frequency divided by a factor (position interpolation).
   *
   * @param factor divisor, positive
   */
  public record Linear(double factor) implements Scaling {
    /** Checks the factor. */
    public Linear {
      requirePositive("factor", factor);
    }
  }

  /**
   * Llama 3.1's rule: long waves are divided by the factor, short ones kept, those between blended.
   *
   * @param factor divisor of the long waves
   * @param lowFrequencyFactor waves longer than {@code originalMaxPositions / lowFrequencyFactor}
   *     positions are long
   * @param highFrequencyFactor waves shorter than {@code originalMaxPositions /
   *     highFrequencyFactor} positions are short
   * @param originalMaxPositions context length before the extension
   */
  public record Llama3(
      double factor,
      double lowFrequencyFactor,
      double highFrequencyFactor,
      int originalMaxPositions)
      implements Scaling {
    /** Checks the ranges. */
    public Llama3 {
      requirePositive("factor", factor);
      requirePositive("low_freq_factor", lowFrequencyFactor);
      if (!(highFrequencyFactor > lowFrequencyFactor) || Double.isInfinite(highFrequencyFactor)) {
        throw new IllegalArgumentException(
            "high_freq_factor must be greater than low_freq_factor "
                + lowFrequencyFactor
                + ", got "
                + highFrequencyFactor);
      }
      requirePositive("original_max_position_embeddings", originalMaxPositions);
    }
  }

  /** Checks the base. */
  public Rope {
    requirePositive("rope_theta", theta);
  }

  /**
   * The angle per position of each pair, as Hugging Face computes it: every intermediate result is
   * rounded to single precision, so that the values are the floats a checkpoint was trained with.
   *
   * @param rotaryDim number of rotated dimensions of a head, even
   * @return {@code [rotaryDim / 2]}, radians per position
   */
  public double[] inverseFrequencies(int rotaryDim) {
    if (rotaryDim <= 0 || rotaryDim % 2 != 0) {
      throw new IllegalArgumentException("rotaryDim must be even and positive, got " + rotaryDim);
    }
    double[] frequencies = new double[rotaryDim / 2];
    for (int i = 0; i < frequencies.length; i++) {
      float exponent = (float) (2 * i) / rotaryDim;
      float frequency = 1f / (float) Math.pow((float) theta, exponent);
      frequencies[i] = scale(frequency);
    }
    return frequencies;
  }

  private float scale(float frequency) {
    if (scaling instanceof Linear linear) {
      return frequency / (float) linear.factor();
    }
    if (scaling instanceof Llama3 llama3) {
      return scale(llama3, frequency);
    }
    return frequency;
  }

  private static float scale(Llama3 rule, float frequency) {
    float waveLength = (1 / frequency) * (float) (2 * Math.PI);
    double shortest = rule.originalMaxPositions() / rule.highFrequencyFactor();
    double longest = rule.originalMaxPositions() / rule.lowFrequencyFactor();
    float factor = (float) rule.factor();
    if (waveLength < shortest) {
      return frequency;
    }
    if (waveLength > longest) {
      return frequency / factor;
    }
    float smooth =
        ((1 / waveLength) * rule.originalMaxPositions() - (float) rule.lowFrequencyFactor())
            / (float) (rule.highFrequencyFactor() - rule.lowFrequencyFactor());
    return (1 - smooth) * frequency / factor + smooth * frequency;
  }

  private static void requirePositive(String key, double value) {
    if (!(value > 0) || Double.isInfinite(value)) {
      throw new IllegalArgumentException(key + " must be a positive number, got " + value);
    }
  }
}
