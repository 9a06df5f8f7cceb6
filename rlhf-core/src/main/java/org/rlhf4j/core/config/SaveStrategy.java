package org.rlhf4j.core.config;

/** When checkpoints are written. The final model is written in any case. */
public enum SaveStrategy {
  /** Never. */
  NO,
  /** Every save_steps optimizer steps. */
  STEPS,
  /** After each pass over the data. */
  EPOCH
}
