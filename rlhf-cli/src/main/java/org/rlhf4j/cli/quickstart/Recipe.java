package org.rlhf4j.cli.quickstart;

/**
 * How much of everything the quick start does.
 *
 * @param demonstrations rows that supervised fine-tuning learns from
 * @param pairRequests requests whose stories are compared for the reward model
 * @param storiesPerRequest stories to each of these, of which the best and the worst make a pair
 * @param raft iterations and their sizes
 * @param ppo roll-outs and their sizes
 * @param heldOut rows of each held-out set
 * @param evaluationSamples stories to each held-out request, at every stage
 * @param rates of learning
 */
record Recipe(
    int demonstrations,
    int pairRequests,
    int storiesPerRequest,
    Raft raft,
    Ppo ppo,
    int heldOut,
    int evaluationSamples,
    Rates rates) {
  /**
   * Sizes of RAFT.
   *
   * @param iterations rounds of sampling and training
   * @param prompts of an iteration
   */
  record Raft(int iterations, int prompts) {}

  /**
   * Sizes of PPO.
   *
   * @param rollouts rounds of sampling and training
   * @param samples of a roll-out
   * @param klCoefficient weight of the KL penalty
   */
  record Ppo(int rollouts, int samples, double klCoefficient) {}

  /** Peak learning rates of the four trainings, and passes over the data of the first two. */
  record Rates(
      double sft, double reward, double raft, double ppo, double sftEpochs, double rewardEpochs) {}

  /** Under four minutes on two cores. */
  static Recipe standard() {
    return new Recipe(
        880,
        528,
        4,
        new Raft(5, 48),
        new Ppo(8, 128, 0.03),
        80,
        4,
        new Rates(2e-3, 2e-3, 3e-4, 1e-3, 2, 2));
  }
}
