package org.rlhf4j.ppo.group;

import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.ppo.ClipRange;
import org.rlhf4j.ppo.rollout.RolloutConfig;

/**
 * The keys of all group methods, which compare the responses to a prompt with each other instead of
 * training a value network. {@link #miniBatchSize()} and {@link #epsilonHigh()} are null where none
 * is set.
 *
 * <p>A roll-out has {@code rollout_batch_size} groups of {@code num_generations} responses. An
 * optimizer step is made on {@code mini_batch_size} of them, whole groups, of which {@code
 * per_device_train_batch_size} are computed side by side; responses to one prompt stay together as
 * far as that allows, since their prompt is then computed once. {@code gradient_accumulation_steps}
 * follows; given as another number than 1, it must be the one that follows.
 *
 * <p>With one step for each roll-out, the policy that learns is the one that sampled: every ratio
 * is 1 and nothing is clipped, so the metrics of ratios and clipping are left out.
 *
 * <p>{@code max_length} holds prompt and response together: a prompt may have {@code max_length -
 * max_new_tokens} tokens. {@code eval_strategy: epoch} and {@code save_strategy: epoch} mean every
 * roll-out.
 */
public record GroupConfig(
    @Key(doc = "Responses to each prompt.", defaultValue = "8", atLeast = 1) int numGenerations,
    @Key(
            doc = "Responses of an optimizer step, in whole groups; none: all of a roll-out.",
            defaultValue = Key.NONE,
            atLeast = 1)
        Integer miniBatchSize,
    @Key(doc = "Passes over the responses of each roll-out.", defaultValue = "1", atLeast = 1)
        int numIterations,
    @Key(
            doc = "Weight of the KL to the reference; 0: there is no reference.",
            atLeast = 0,
            aliases = {"kl_coef", "init_kl_coef"})
        double beta,
    @Key(doc = "Ratios count down to 1 minus this.", defaultValue = "0.2", above = 0)
        double epsilon,
    @Key(doc = "Ratios count up to 1 plus this; none: epsilon.", defaultValue = Key.NONE, above = 0)
        Double epsilonHigh,
    @Key(
            doc =
                "Blocks at the top that are trained, with final norm and head; the rest is frozen"
                    + " and shared with the reference. -1: all.",
            defaultValue = "-1",
            atLeast = -1)
        int numLayersUnfrozen,
    @Key(
            doc = "Keeps what the frozen blocks make of a roll-out for all its steps.",
            defaultValue = "true")
        boolean cacheTrunk) {

  /** The range in which ratios count. */
  public ClipRange clip() {
    return new ClipRange(
        epsilon, epsilonHigh == null ? epsilon : epsilonHigh, Double.POSITIVE_INFINITY);
  }

  /** Responses of an optimizer step. */
  int stepSize(RolloutConfig rollout) {
    return miniBatchSize == null ? rollout.rolloutBatchSize() * numGenerations : miniBatchSize;
  }

  /** Whether each roll-out is learned from in one step, by the policy that drew it. */
  boolean isOnPolicy(RolloutConfig rollout) {
    return numIterations == 1 && stepSize(rollout) == rollout.rolloutBatchSize() * numGenerations;
  }

  /**
   * Checks these keys together with the others of a group method, as the record of a method's own
   * keys does from its own check.
   */
  public void check(Problems problems, TrainingConfig training, RolloutConfig rollout) {
    int step = stepSize(rollout);
    int micro = Math.min(training.perDeviceTrainBatchSize(), step);
    problems.require(
        step % numGenerations == 0,
        "mini_batch_size "
            + step
            + " does not fill groups of num_generations "
            + numGenerations
            + ": it must be a multiple, since a step learns from whole groups");
    problems.require(
        step <= rollout.rolloutBatchSize() * numGenerations,
        "mini_batch_size "
            + step
            + " is more than the responses of a roll-out: rollout_batch_size "
            + rollout.rolloutBatchSize()
            + " times num_generations "
            + numGenerations);
    problems.require(
        rollout.totalEpisodes() == null || rollout.totalEpisodes() % numGenerations == 0,
        "total_episodes "
            + rollout.totalEpisodes()
            + " does not fill groups of num_generations "
            + numGenerations
            + ": it must be a multiple");
    problems.require(
        training.gradientAccumulationSteps() == 1
            || (long) training.gradientAccumulationSteps() * micro == step,
        "gradient_accumulation_steps "
            + training.gradientAccumulationSteps()
            + " contradicts the "
            + step
            + " responses of a step (mini_batch_size, else rollout_batch_size times"
            + " num_generations) with per_device_train_batch_size "
            + training.perDeviceTrainBatchSize()
            + ", from which it follows; leave it out");
    problems.require(
        numLayersUnfrozen != 0,
        "num_layers_unfrozen: found 0, which leaves nothing to train; allowed: -1 (all) or at least"
            + " 1");
    rollout.check(problems, training);
    if (isOnPolicy(rollout)) {
      problems.warnUnused(
          "with one step for each roll-out: no ratio is ever clipped", "epsilon", "epsilon_high");
    }
  }

  /** Says that what is the same for a whole group falls out of the comparison. */
  void warnOfDelta(Problems problems, RolloutConfig rollout) {
    if (rollout.deltaReward() && rollout.cliprangeReward() == null) {
      problems.warn(
          "delta_reward changes no comparison: the same answer is taken off all responses to a"
              + " prompt; only the reported rewards change, unless cliprange_reward cuts them");
    }
  }

  /** Refuses groups in which there is nothing to compare. */
  void requireComparison(Problems problems) {
    problems.require(
        numGenerations > 1,
        "num_generations 1: a response is compared with the others to its prompt; allowed: at least"
            + " 2");
  }
}
