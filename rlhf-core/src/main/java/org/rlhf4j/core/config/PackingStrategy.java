package org.rlhf4j.core.config;

/** How short rows share one row of the batch. */
public enum PackingStrategy {
  /** Best fit, longest first; no row is cut but by max_length. */
  BFD,
  /** Rows are joined and cut every max_length tokens; the last short block is kept. */
  WRAPPED,
  /** As LMFlow: joined, cut, the remainder dropped, attention across rows. */
  GROUP_TEXTS
}
