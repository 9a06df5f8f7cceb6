package org.rlhf4j.ppo.group;

/** What the distance of a reward from its group's mean is divided by. */
public enum GroupScale {
  /** The standard deviation of its group, as in GRPO's paper. */
  GROUP,
  /** The standard deviation of all rewards of the batch. */
  BATCH,
  /** Nothing, as in Dr. GRPO. */
  NONE
}
