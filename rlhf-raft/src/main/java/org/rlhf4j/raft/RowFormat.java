package org.rlhf4j.raft;

/** How selected responses are written for training. */
public enum RowFormat {
  /** {@code prompt} and {@code completion}: texts, which training tokenises anew. */
  TEXT,
  /** {@code input_ids} and {@code labels}: the tokens as they were sampled. */
  TOKENS
}
