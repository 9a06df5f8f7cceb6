package org.rlhf4j.core.torch;

/** What a tensor's elements are. */
public enum ElementType {
  FP32(4),
  BF16(2),
  INT64(8);

  private final int bytes;

  ElementType(int bytes) {
    this.bytes = bytes;
  }

  /** Bytes per element. */
  public int bytes() {
    return bytes;
  }
}
