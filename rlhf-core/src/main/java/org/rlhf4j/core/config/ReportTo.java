package org.rlhf4j.core.config;

/** Where metrics go besides metrics.jsonl. */
public enum ReportTo {
  /** Nowhere else. */
  NONE,
  /** TensorBoard event files in the output folder. */
  TENSORBOARD
}
