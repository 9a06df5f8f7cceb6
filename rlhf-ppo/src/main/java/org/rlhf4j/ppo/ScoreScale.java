package org.rlhf4j.ppo;

/** What scores are divided by before they become rewards. Their mean is never taken off. */
public enum ScoreScale {
  /** Nothing. */
  NONE,
  /** The standard deviation of all scores so far, those at hand included. */
  RUNNING,
  /** The standard deviation of the first roll-out's scores. */
  REF
}
