package org.rlhf4j.core.checkpoint;

import java.util.Arrays;

/** How the numbers of a tensor are stored in a safetensors file, little-endian. */
public enum StoredType {
  /** IEEE 754 double precision. */
  F64(8),
  /** IEEE 754 single precision. */
  F32(4),
  /** IEEE 754 half precision. */
  F16(2),
  /** The upper half of a single: 8 exponent bits, 7 fraction bits. */
  BF16(2),
  /** Signed 64-bit integers. */
  I64(8),
  /** Signed 32-bit integers. */
  I32(4),
  /** Signed 16-bit integers. */
  I16(2),
  /** Signed bytes. */
  I8(1),
  /** Unsigned bytes. */
  U8(1),
  /** One byte per value, 0 or 1. */
  BOOL(1);

  private final int bytes;

  StoredType(int bytes) {
    this.bytes = bytes;
  }

  /** Bytes of one element. */
  public int bytes() {
    return bytes;
  }

  /** Whether model weights are stored in this type, that is, whether it is read as floats. */
  public boolean isFloat() {
    return this == F32 || this == F16 || this == BF16;
  }

  /**
   * The name that {@code config.json} uses ({@code float32}, {@code bfloat16}, {@code float16}).
   *
   * @throws IllegalStateException for a type that no model is stored in
   */
  public String configName() {
    return switch (this) {
      case F32 -> "float32";
      case F16 -> "float16";
      case BF16 -> "bfloat16";
      default -> throw new IllegalStateException(this + " is not a type of model weights");
    };
  }

  /**
   * The value of this type that is nearest to a number, ties to even; infinite where it is too
   * large.
   *
   * @throws IllegalStateException for a type that no model is stored in
   */
  public float nearest(float value) {
    return switch (this) {
      case F32 -> value;
      case BF16 -> Halves.bfloat16ToFloat(Halves.floatToBfloat16(value));
      case F16 -> Halves.halfToFloat(Halves.floatToHalf(value));
      default -> throw new IllegalStateException(this + " is not a type of model weights");
    };
  }

  /**
   * The type of that name in {@code config.json}.
   *
   * @return null where no model is stored in it
   */
  public static StoredType ofConfigName(String name) {
    return Arrays.stream(values())
        .filter(type -> type.isFloat() && type.configName().equals(name))
        .findFirst()
        .orElse(null);
  }

  /** The type of that safetensors name, or null where the name is not one of ours. */
  static StoredType ofName(String name) {
    return Arrays.stream(values())
        .filter(type -> type.name().equals(name))
        .findFirst()
        .orElse(null);
  }
}
