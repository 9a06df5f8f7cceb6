package org.rlhf4j.core.config;

/** The numbers that a run computes with. */
public enum DtypeChoice {
  /** bf16 where the machine is faster with it, else fp32. */
  AUTO,
  /** Single precision throughout. */
  FP32,
  /** bf16 weights and activations; fp32 master weights, norms, softmax and losses. */
  BF16
}
