package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.testing.Shared;

class RopeTest {
  // One unit in the last place of a float, relative.
  private static final double ULP = 1.2e-7;

  @Test
  void frequenciesArePowersOfTheBase() {
    double[] expected = {1, 0.1, 0.01, 0.001};
    assertRelative(expected, new Rope(10000, new Rope.Unscaled()).inverseFrequencies(8));
  }

  @Test
  void linearScalingDividesThem() {
    double[] expected = {0.25, 0.025, 0.0025, 0.00025};
    assertRelative(expected, new Rope(10000, new Rope.Linear(4)).inverseFrequencies(8));
  }

  /** The buffers that Hugging Face itself stored in this folder, with base 500. */
  @Test
  void equalsTheBuffersOfHuggingFace() {
    Path file = Shared.path("golden/models/llama-tied-legacy/model.safetensors");
    float[] stored =
        SafetensorsFile.open(file).readFloats("model.layers.1.self_attn.rotary_emb.inv_freq");
    double[] expected = new double[stored.length];
    for (int i = 0; i < stored.length; i++) {
      expected[i] = stored[i];
    }
    assertRelative(expected, new Rope(500, new Rope.Unscaled()).inverseFrequencies(8));
  }

  /**
   * Llama 3.1's rule by hand: context 32, low 1, high 4. Waves below 8 positions stay, above 32 are
   * divided by 8, and between them the share that stays is (32 / wave - 1) / 3.
   */
  @Test
  void llama3KeepsShortWavesDividesLongOnesAndBlendsBetween() {
    Rope rope = new Rope(500, new Rope.Llama3(8, 1, 4, 32));
    double[] found = rope.inverseFrequencies(16);
    double[] expected = new double[8];
    for (int i = 0; i < 8; i++) {
      double plain = Math.pow(500, -i / 8.0);
      double wave = 2 * Math.PI / plain;
      double kept = (32 / wave - 1) / 3;
      if (i == 0) {
        expected[i] = plain; // wave 6.3
      } else if (i <= 2) {
        expected[i] = kept * plain + (1 - kept) * plain / 8; // waves 13.7, 29.7
      } else {
        expected[i] = plain / 8; // 64.6 and more
      }
    }
    for (int i = 0; i < 8; i++) {
      assertEquals(expected[i], found[i], expected[i] * 1e-6, "pair " + i);
    }
  }

  @Test
  void everyFrequencyIsAFloat() {
    for (double frequency : new Rope(500000, new Rope.Unscaled()).inverseFrequencies(128)) {
      assertEquals((float) frequency, frequency);
    }
  }

  @Test
  void rangesAreChecked() {
    assertThrows(IllegalArgumentException.class, () -> new Rope(0, new Rope.Unscaled()));
    assertThrows(IllegalArgumentException.class, () -> new Rope.Linear(-1));
    assertThrows(IllegalArgumentException.class, () -> new Rope.Llama3(8, 4, 4, 32));
    assertThrows(IllegalArgumentException.class, () -> new Rope.Llama3(8, 1, 4, 0));
    Rope rope = new Rope(10000, new Rope.Unscaled());
    assertThrows(IllegalArgumentException.class, () -> rope.inverseFrequencies(7));
  }

  private static void assertRelative(double[] expected, double[] found) {
    assertEquals(expected.length, found.length);
    double[] ratios = new double[found.length];
    double[] ones = new double[found.length];
    for (int i = 0; i < found.length; i++) {
      ratios[i] = found[i] / expected[i];
      ones[i] = 1;
    }
    assertArrayEquals(ones, ratios, ULP);
  }
}
