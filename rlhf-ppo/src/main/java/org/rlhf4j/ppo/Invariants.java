package org.rlhf4j.ppo;

import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.torch.ElementType;

/**
 * What must hold in every run of PPO, whatever its data: where it does not, the numbers that follow
 * mean nothing, so the run ends and says what the likely causes are, the likeliest first.
 */
final class Invariants {
  private final PpoNetworks networks;
  private final double tolerance;
  private final double scoreTolerance;
  private final float[] reference;

  /** Takes the reference's fingerprint as it is now. */
  Invariants(PpoNetworks networks, ElementType type) {
    this.networks = networks;
    this.tolerance = type == ElementType.FP32 ? 1e-5 : 1e-3;
    // A score is one number behind all layers; in bf16 it has 8 bits.
    this.scoreTolerance = type == ElementType.FP32 ? 1e-4 : 5e-2;
    this.reference = networks.referenceFingerprint();
  }

  /**
   * The ratio of new to old probability is 1 before the first step on a roll-out.
   *
   * @param ratio mean over the tokens of the first mini-batch
   */
  void requireRatioOne(double ratio) {
    if (!(Math.abs(ratio - 1) <= tolerance)) {
      throw violated(
          ("the ratio of new to old probability is %s before the first step on a roll-out; it must be"
                  + " 1 within %s")
              .formatted(ratio, tolerance),
          "weights were changed between roll-out and update by something else than the optimizer",
          "dtype bf16 is too coarse for this model: dtype fp32",
          "the device computes the same batch differently each time");
    }
  }

  /**
   * The reference says what the policy says, before the first step of a run.
   *
   * @param rollout of the untrained policy
   */
  void requireReferenceIsPolicy(Rollout rollout) {
    double most = 0;
    for (int i = 0; i < rollout.size(); i++) {
      most = Math.max(most, distance(rollout.logProbs()[i], rollout.referenceLogProbs()[i]));
    }
    if (!(most <= tolerance)) {
      throw violated(
          ("policy and reference differ by %s in a log-probability before the first step; they must"
                  + " be the same within %s")
              .formatted(most, tolerance),
          "the start folder is an adapter whose weights are not 0: merge it first (merge-lora)",
          "the device computes the same batch differently each time");
    }
  }

  /**
   * What networks and reward say of a sample does not depend on its batch.
   *
   * @param rollout of which the sample is the first
   * @param score of that sample by itself
   * @param alone what the networks say of it by itself
   */
  void requireSameAlone(Rollout rollout, double score, PpoNetworks.Scored alone) {
    double expected = rollout.scores()[0];
    if (!(Math.abs(score - expected) <= scoreTolerance * Math.max(1, Math.abs(expected)))) {
      throw violated(
          "the reward of a response is %s by itself and %s among others; it must not depend on them"
              .formatted(score, expected),
          "the reward function looks at the other responses, or draws random numbers",
          "the reward model reads padding: pad_token_id of its config.json",
          "the reward's server answers in another order");
    }
    double most =
        Math.max(
            distance(rollout.logProbs()[0], alone.logProbs()),
            distance(rollout.values()[0], alone.values()));
    double largest = 1;
    for (float value : alone.values()) {
      largest = Math.max(largest, Math.abs(value));
    }
    if (!(most <= Math.max(scoreTolerance, 100 * tolerance) * largest)) {
      throw violated(
          "a log-probability or value of a response differs by %s by itself and among others"
              .formatted(most),
          "dtype bf16 is too coarse for this model: dtype fp32",
          "rows of a batch see each other on this device");
    }
  }

  /**
   * How many numbers of the reference's fingerprint have changed since the start: 0.
   *
   * @throws RlhfException where any has
   */
  long drift() {
    float[] now = networks.referenceFingerprint();
    long drift = 0;
    for (int i = 0; i < now.length; i++) {
      drift += now[i] == reference[i] ? 0 : 1;
    }
    if (drift > 0) {
      throw violated(
          "the frozen reference has changed, %d of %d sums over its tensors are others"
              .formatted(drift, now.length),
          "code of one's own wrote to the policy's frozen weights, which the reference shares",
          "the memory of the device is faulty");
    }
    return drift;
  }

  private static double distance(float[] one, float[] other) {
    double most = 0;
    for (int t = 0; t < one.length; t++) {
      most = Math.max(most, Math.abs((double) one[t] - other[t]));
    }
    return most;
  }

  private static RlhfException violated(String what, String... causes) {
    StringBuilder message = new StringBuilder(what).append(". Likely causes, the likeliest first:");
    for (int i = 0; i < causes.length; i++) {
      message.append(" (").append(i + 1).append(") ").append(causes[i]);
      message.append(i + 1 < causes.length ? ";" : "");
    }
    return RlhfException.input(message.toString());
  }
}
