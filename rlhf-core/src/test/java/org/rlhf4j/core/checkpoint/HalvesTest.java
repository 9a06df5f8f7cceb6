package org.rlhf4j.core.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.SplittableRandom;
import java.util.function.IntToDoubleFunction;
import org.junit.jupiter.api.Test;

class HalvesTest {
  /** IEEE 754's definition, by powers of two. */
  private static double half(int bits) {
    int exponent = (bits >> 10) & 0x1f;
    int fraction = bits & 0x3ff;
    double magnitude;
    if (exponent == 31) {
      magnitude = fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN;
    } else if (exponent == 0) {
      magnitude = fraction * Math.pow(2, -24);
    } else {
      magnitude = (1024 + fraction) * Math.pow(2, exponent - 25);
    }
    return (bits & 0x8000) == 0 ? magnitude : -magnitude;
  }

  private static double bfloat16(int bits) {
    int exponent = (bits >> 7) & 0xff;
    int fraction = bits & 0x7f;
    double magnitude;
    if (exponent == 255) {
      magnitude = fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN;
    } else if (exponent == 0) {
      magnitude = fraction * Math.pow(2, -133);
    } else {
      magnitude = (128 + fraction) * Math.pow(2, exponent - 134);
    }
    return (bits & 0x8000) == 0 ? magnitude : -magnitude;
  }

  /** The nearest of all values by bisection; a tie goes to the even pattern. */
  private static int nearest(double value, IntToDoubleFunction decode, int infinity) {
    int sign = Double.doubleToRawLongBits(value) < 0 ? 0x8000 : 0;
    double magnitude = Math.abs(value);
    int low = 0;
    int high = infinity;
    while (high - low > 1) {
      int middle = (low + high) / 2;
      if (decode.applyAsDouble(middle) <= magnitude) {
        low = middle;
      } else {
        high = middle;
      }
    }
    // Beyond the largest value rounding goes on as if the next binade existed.
    double below = decode.applyAsDouble(low);
    double above =
        high == infinity ? 2 * below - decode.applyAsDouble(low - 1) : decode.applyAsDouble(high);
    double middle = (below + above) / 2;
    boolean up = magnitude > middle || (magnitude == middle && (high & 1) == 0);
    return sign | (up ? high : low);
  }

  @Test
  void everyHalfIsReadAsDefined() {
    for (int bits = 0; bits < 1 << 16; bits++) {
      double expected = half(bits);
      float found = Halves.halfToFloat((short) bits);
      assertTrue(Double.compare(expected, found) == 0, Integer.toHexString(bits) + " " + found);
    }
  }

  @Test
  void everyBfloat16IsReadAsDefined() {
    for (int bits = 0; bits < 1 << 16; bits++) {
      double expected = bfloat16(bits);
      float found = Halves.bfloat16ToFloat((short) bits);
      assertTrue(Double.compare(expected, found) == 0, Integer.toHexString(bits) + " " + found);
    }
  }

  @Test
  void everyValueThatIsNoNanSurvivesTheRoundTrip() {
    for (int bits = 0; bits < 1 << 16; bits++) {
      if (!Double.isNaN(half(bits))) {
        assertEquals((short) bits, Halves.floatToHalf(Halves.halfToFloat((short) bits)));
      }
      if (!Double.isNaN(bfloat16(bits))) {
        assertEquals((short) bits, Halves.floatToBfloat16(Halves.bfloat16ToFloat((short) bits)));
      }
    }
  }

  @Test
  void roundsToTheNearestAndTiesToEven() {
    SplittableRandom random = new SplittableRandom(7);
    for (int i = 0; i < 200_000; i++) {
      checkBoth(Float.intBitsToFloat(random.nextInt()));
    }
    for (int bits = 0; bits < 0x7c00; bits++) {
      checkAround((half(bits) + (bits == 0x7bff ? 65536 : half(bits + 1))) / 2);
    }
    for (int bits = 0; bits < 0x7f7f; bits++) {
      checkAround((bfloat16(bits) + bfloat16(bits + 1)) / 2);
    }
    checkBoth(Float.MAX_VALUE);
  }

  /** A midpoint of two neighbours and the floats on both sides of it. */
  private static void checkAround(double midpoint) {
    float value = (float) midpoint;
    checkBoth(value);
    checkBoth(Math.nextUp(value));
    checkBoth(-Math.nextDown(value));
  }

  private static void checkBoth(float value) {
    if (Float.isNaN(value)) {
      assertTrue(Float.isNaN(Halves.halfToFloat(Halves.floatToHalf(value))));
      assertTrue(Float.isNaN(Halves.bfloat16ToFloat(Halves.floatToBfloat16(value))));
      return;
    }
    assertEquals(
        (short) nearest(value, HalvesTest::half, 0x7c00), Halves.floatToHalf(value), "" + value);
    assertEquals(
        (short) nearest(value, HalvesTest::bfloat16, 0x7f80),
        Halves.floatToBfloat16(value),
        "" + value);
  }
}
