package org.rlhf4j.ppo;

/** What computes the values of states. */
public enum ValueNetwork {
  /**
   * A head on the policy's last hidden state, whose gradient flows into the policy's trained blocks
   * (trlX); with value layers of its own, the head stands on a trained copy of the last blocks that
   * reads the policy's states.
   */
  POLICY_HEAD,
  /**
   * A head on a trained copy of the reference's last blocks, which reads the frozen blocks below:
   * no value gradient meets the policy (bloomz-rlhf).
   */
  REFERENCE_BRANCH,
  /** A whole model of its own (TRL). */
  SEPARATE
}
