package org.rlhf4j.core.config;

/** How the learning rate moves after warm-up; f is the factor on the peak rate. */
public enum LrSchedulerType {
  /** Falls in a straight line to 0. */
  LINEAR,
  /** Half a cosine, down to 0. */
  COSINE,
  /** {@code f(1 - m) + m} with f the cosine's factor and m = min_lr_rate. */
  COSINE_WITH_MIN_LR,
  /** Always the peak rate. */
  CONSTANT,
  /** The peak rate after warm-up. */
  CONSTANT_WITH_WARMUP,
  /** {@code 1 / sqrt((s + shift) / timescale)}, timescale = warmup_steps or 10,000. */
  INVERSE_SQRT
}
