package org.rlhf4j.core.config;

/** The numbers that saved weights are written in. */
public enum SaveDtype {
  /** As in the files of the start model. */
  SOURCE,
  /** Single precision. */
  FP32,
  /** bf16, rounded from the fp32 masters. */
  BF16
}
