package org.rlhf4j.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class CounterRandomTest {
  /** The known-answer vectors that the authors publish with Random123 (philox4x32, 10 rounds). */
  @Test
  void philoxMeetsThePublishedVectors() {
    assertArrayEquals(
        new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        CounterRandom.philox(new int[] {0, 0, 0, 0}, 0, 0));
    assertArrayEquals(
        new int[] {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        CounterRandom.philox(new int[] {-1, -1, -1, -1}, -1, -1));
    assertArrayEquals(
        new int[] {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
        CounterRandom.philox(
            new int[] {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0));
  }

  @Test
  void everyArgumentMatters() {
    Set<Long> seen = new HashSet<>();
    long[][] places = {
      {0, 0, 0, 0},
      {1, 0, 0, 0},
      {1L << 40, 0, 0, 0},
      {0, 1, 0, 0},
      {0, 1L << 40, 0, 0},
      {0, 0, 1, 0},
      {0, 0, 1L << 40, 0},
      {0, 0, 0, 1},
      {0, 0, 0, 1L << 40}
    };
    for (long[] p : places) {
      for (RandomStream stream : RandomStream.values()) {
        assertTrue(seen.add(CounterRandom.bits(p[0], stream, p[1], p[2], p[3])));
      }
    }
  }

  @Test
  void uniformNumbersFillTheUnitIntervalEvenly() {
    int count = 100_000;
    int[] tenths = new int[10];
    double sum = 0;
    for (int i = 0; i < count; i++) {
      double u = CounterRandom.uniform(7, RandomStream.SAMPLING, i / 1000, i % 1000, i);
      assertTrue(u >= 0 && u < 1);
      tenths[(int) (u * 10)]++;
      sum += u;
    }
    // Mean of uniforms: 1/2 with standard deviation 1/sqrt(12 n). Six of them.
    assertEquals(0.5, sum / count, 6 / Math.sqrt(12.0 * count));
    double chiSquare = 0;
    for (int tenth : tenths) {
      chiSquare += Math.pow(tenth - count / 10.0, 2) / (count / 10.0);
    }
    assertTrue(chiSquare < 33.7, "9 degrees of freedom, p = 1e-4: " + chiSquare);
  }

  @Test
  void gaussianNumbersHaveTheRightMoments() {
    int count = 100_000;
    double sum = 0;
    double squares = 0;
    double fourth = 0;
    for (int i = 0; i < count; i++) {
      double g = CounterRandom.gaussian(3, RandomStream.NOISE, 0, 0, i);
      sum += g;
      squares += g * g;
      fourth += g * g * g * g;
    }
    assertEquals(0, sum / count, 6 / Math.sqrt(count));
    assertEquals(1, squares / count, 6 * Math.sqrt(2.0 / count));
    assertEquals(3, fourth / count, 6 * Math.sqrt(96.0 / count));
  }
}
