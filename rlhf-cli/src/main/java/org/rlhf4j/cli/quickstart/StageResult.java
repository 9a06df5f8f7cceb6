package org.rlhf4j.cli.quickstart;

/**
 * What a stage's model is worth on the held-out requests.
 *
 * @param stage {@code base}, {@code sft}, {@code raft} or {@code ppo}
 * @param gold what the judge says
 * @param figures all else
 * @param seconds that the stage took, with its data and its evaluation
 */
record StageResult(String stage, Gold gold, Figures figures, double seconds) {
  /** The gold reward and its terms, means over the stories. */
  record Gold(double reward, double asked, double cheerful, double fresh, double ended) {}

  /**
   * What was measured besides.
   *
   * @param heldOutLoss on held-out demonstrations, nats per token
   * @param proxyReward mean score of the learned reward model
   * @param winRate against SFT in the judge's eyes, ties half; null for SFT itself
   * @param kl from the SFT model, nats per story (k1); null for the base model, which did not start
   *     from there
   * @param distinct2 different pairs of neighbouring tokens over all of them
   * @param meanLength tokens of a story
   */
  record Figures(
      double heldOutLoss,
      double proxyReward,
      Double winRate,
      Double kl,
      double distinct2,
      double meanLength) {}
}
