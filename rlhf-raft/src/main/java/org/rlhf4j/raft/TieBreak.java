package org.rlhf4j.raft;

/** Which of two samples with equal rewards goes first. */
public enum TieBreak {
  /** The one drawn first. */
  FIRST,
  /** The one drawn last, as LMFlow's global selection has it. */
  LAST
}
