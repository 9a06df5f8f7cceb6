package org.rlhf4j.core.checkpoint;

/** Exact conversions between single precision and the two 16-bit formats. */
final class Halves {
  private static final int HALF_INFINITY = 0x7c00;
  private static final int HALF_NAN = 0x7e00;

  private Halves() {}

  /** The value of an IEEE half; a NaN stays a NaN of the same sign and payload. */
  static float halfToFloat(short bits) {
    int sign = (bits & 0x8000) << 16;
    int exponent = (bits >>> 10) & 0x1f;
    int fraction = bits & 0x3ff;
    if (exponent == 0x1f) {
      return Float.intBitsToFloat(sign | 0x7f800000 | (fraction << 13));
    }
    if (exponent == 0) {
      float subnormal = fraction * 0x1p-24f;
      return Float.intBitsToFloat(sign | Float.floatToRawIntBits(subnormal));
    }
    return Float.intBitsToFloat(sign | ((exponent + 112) << 23) | (fraction << 13));
  }

  /** The nearest half, ties to even; too large becomes infinity, a NaN stays a NaN. */
  static short floatToHalf(float value) {
    int bits = Float.floatToRawIntBits(value);
    int sign = (bits >>> 16) & 0x8000;
    int magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) {
      return (short) (sign | HALF_NAN | ((magnitude >>> 13) & 0x3ff));
    }
    // 65520 lies halfway between the largest half and 2^16; from there on the result is infinity.
    if (magnitude >= Float.floatToRawIntBits(65520f)) {
      return (short) (sign | HALF_INFINITY);
    }
    if (magnitude < Float.floatToRawIntBits(0x1p-14f)) {
      // Scaled to units of the smallest half; adding 2^23 lets the processor round to even.
      float units = Float.intBitsToFloat(magnitude) * 0x1p24f + 0x1p23f;
      return (short) (sign | (Float.floatToRawIntBits(units) & 0x7fffff));
    }
    int odd = (magnitude >>> 13) & 1;
    int rounded = magnitude + 0xfff + odd - (112 << 23);
    return (short) (sign | (rounded >>> 13));
  }

  /** The value of a bfloat16. */
  static float bfloat16ToFloat(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }

  /** The nearest bfloat16, ties to even; too large becomes infinity, a NaN stays a NaN. */
  static short floatToBfloat16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if ((bits & 0x7fffffff) > 0x7f800000) {
      return (short) ((bits >>> 16) | 0x40);
    }
    int odd = (bits >>> 16) & 1;
    return (short) ((bits + 0x7fff + odd) >>> 16);
  }
}
