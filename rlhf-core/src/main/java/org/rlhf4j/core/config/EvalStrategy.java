package org.rlhf4j.core.config;

/** When the evaluation set is scored. */
public enum EvalStrategy {
  /** Every eval_steps if there is an evaluation set, else never. */
  AUTO,
  /** Never. */
  NO,
  /** Every eval_steps optimizer steps. */
  STEPS,
  /** After each pass over the data. */
  EPOCH
}
