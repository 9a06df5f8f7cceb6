package org.rlhf4j.core.torch;

/** What a tensor's elements are. */
public enum ElementType {
  FP32,
  BF16,
  INT64
}
