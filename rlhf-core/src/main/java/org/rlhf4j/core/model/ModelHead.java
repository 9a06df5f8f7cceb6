package org.rlhf4j.core.model;

/** What stands on top of a decoder. */
public enum ModelHead {
  /** Next-token scores, {@code lm_head.weight [V, H]} or the embedding itself. */
  CAUSAL_LM,
  /** One score per row, {@code score.weight [1, H]}. */
  SEQUENCE_CLASSIFICATION
}
