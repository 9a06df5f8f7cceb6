package org.rlhf4j.raft;

/** Among which samples the best are looked for. */
public enum Selection {
  /** The best of each prompt's samples. */
  PER_PROMPT,
  /** The best of all samples of the iteration, whatever their prompts. */
  GLOBAL
}
