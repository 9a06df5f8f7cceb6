package org.rlhf4j.ppo.rollout;

import java.util.List;
import java.util.function.Supplier;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.torch.ElementType;

/**
 * What must hold in every online run, whatever its data: where it does not, the numbers that follow
 * mean nothing, so the run ends and says what the likely causes are, the likeliest first.
 */
public final class Invariants {
  private final Supplier<float[]> fingerprint;
  private final ElementType type;
  private final double tolerance;
  private final double tokenTolerance;
  private final double rewardTolerance;
  private final float[] reference;

  /**
   * Takes the reference's fingerprint as it is now.
   *
   * @param fingerprint of the reference: sums over its tensors
   * @param type that is computed with
   * @param rewardTolerance see {@link org.rlhf4j.reward.OpenReward#tolerance}
   */
  public Invariants(Supplier<float[]> fingerprint, ElementType type, double rewardTolerance) {
    this.fingerprint = fingerprint;
    this.type = type;
    this.tolerance = type == ElementType.FP32 ? 1e-5 : 1e-3;
    // A row is computed in batches of other shapes, in which sums of products round otherwise: with
    // many layers more than the mean's bound in fp32, and in bf16, with 8 bits, far more. Rows that
    // see each other or their padding are off by tenths and more.
    this.tokenTolerance = type == ElementType.FP32 ? 1e-3 : 0.5;
    this.rewardTolerance = rewardTolerance;
    this.reference = fingerprint.get();
  }

  /**
   * The ratio of new to old probability is 1 before the first step on a roll-out.
   *
   * @param ratio mean over the tokens of the first mini-batch
   */
  public void requireRatioOne(double ratio) {
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
   * No token's ratio is far from 1 before the first step on a roll-out.
   *
   * @param largest log-ratio of a token of the first mini-batch, without its sign
   */
  public void requireLogRatiosZero(double largest) {
    if (!(largest <= tokenTolerance)) {
      throw violated(
          ("the log-ratio of new to old probability of a token is ±%s before the first step on a"
                  + " roll-out; it must be 0 within %s")
              .formatted(largest, tokenTolerance),
          "the rows of a batch see each other or their padding",
          "dtype bf16 is too coarse for this model: dtype fp32",
          "the device computes the same batch differently each time");
    }
  }

  /**
   * The reference says what the policy says, before the first step of a run.
   *
   * @param logProbs of the untrained policy, {@code [responses][tokens]}
   * @param referenceLogProbs {@code [responses][tokens]}
   */
  public void requireReferenceIsPolicy(float[][] logProbs, float[][] referenceLogProbs) {
    double most = 0;
    for (int i = 0; i < logProbs.length; i++) {
      most = Math.max(most, distance(logProbs[i], referenceLogProbs[i]));
    }
    if (!(most <= tolerance)) {
      throw violated(
          ("policy and reference differ by %s in a log-probability before the first step; they must"
                  + " be the same within %s")
              .formatted(most, tolerance),
          "dtype bf16 is too coarse for the way through adapters or copied blocks: dtype fp32",
          "adapters were not 0 when training began",
          "the device computes the same batch differently each time");
    }
  }

  /**
   * The sampler drew from the distribution that is trained.
   *
   * @param responses as they were drawn
   * @param logProbs of the policy that drew them, {@code [responses][tokens]}
   */
  public void requireSameSampled(List<Response> responses, float[][] logProbs) {
    double most = 0;
    double sum = 0;
    long tokens = 0;
    for (int i = 0; i < logProbs.length; i++) {
      float[] sampled = responses.get(i).logProbs();
      float[] scored = logProbs[i];
      for (int t = 0; t < scored.length; t++) {
        double distance = Math.abs((double) sampled[t] - scored[t]);
        most = Math.max(most, distance / Math.max(1, Math.abs(scored[t])));
        sum += distance;
        tokens++;
      }
    }
    // In bf16 single tokens may be far apart, as the cache is filled in other shapes.
    double found = type == ElementType.FP32 ? most : sum / tokens;
    double allowed = type == ElementType.FP32 ? 1e-4 : 5e-2;
    if (!(found <= allowed)) {
      throw violated(
          ("sampler and scorer differ by %s in the log-probabilities of the first responses; they"
                  + " must agree within %s")
              .formatted(found, allowed),
          "sampler and scorer divide the logits by another temperature, or one of them filters",
          "dtype bf16 is too coarse for this model: dtype fp32",
          "the positions of padded rows are counted otherwise when tokens are drawn one by one");
    }
  }

  /**
   * What the reward says of a sample does not depend on its batch.
   *
   * @param score of a sample by itself
   * @param expected its score among others
   */
  public void requireSameReward(double score, double expected) {
    if (!(Math.abs(score - expected) <= rewardTolerance * Math.max(1, Math.abs(expected)))) {
      throw violated(
          "the reward of a response is %s by itself and %s among others; it must not depend on them"
              .formatted(score, expected),
          "the reward function looks at the other responses, or draws random numbers: then"
              + " check_invariants false",
          "the reward is computed in bf16, which is too coarse: dtype fp32, also of its server",
          "the reward model reads padding: pad_token_id of its config.json",
          "the reward's server answers in another order");
    }
  }

  /**
   * What the policy says of a sample does not depend on its batch.
   *
   * @param logProbs of the sample among others, {@code [tokens]}
   * @param alone by itself, likewise
   */
  public void requireSameAlone(float[] logProbs, float[] alone) {
    requireSameAlone("log-probability", distance(logProbs, alone), tokenTolerance);
  }

  /**
   * What the value network says of a sample does not depend on its batch.
   *
   * @param values of the sample among others, {@code [tokens]}
   * @param alone by itself, likewise
   */
  public void requireSameValuesAlone(float[] values, float[] alone) {
    double largest = 1;
    for (float value : alone) {
      largest = Math.max(largest, Math.abs(value));
    }
    requireSameAlone(
        "value", distance(values, alone), (type == ElementType.FP32 ? 1e-3 : 0.1) * largest);
  }

  private static void requireSameAlone(String what, double found, double allowed) {
    if (!(found <= allowed)) {
      throw violated(
          "a %s of a response differs by %s by itself and among others; allowed is %s"
              .formatted(what, found, allowed),
          "dtype bf16 is too coarse for this model: dtype fp32",
          "rows of a batch see each other on this device");
    }
  }

  /**
   * How many numbers of the reference's fingerprint have changed since the start: 0.
   *
   * @throws RlhfException where any has
   */
  public long drift() {
    float[] now = fingerprint.get();
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
