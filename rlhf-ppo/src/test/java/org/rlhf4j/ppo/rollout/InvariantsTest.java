package org.rlhf4j.ppo.rollout;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.generate.FinishReason;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.torch.ElementType;

/** The bounds of what must hold. */
class InvariantsTest {
  private static final Invariants EXACT =
      new Invariants(() -> new float[1], ElementType.FP32, 1e-4);
  private static final Invariants COARSE =
      new Invariants(() -> new float[1], ElementType.BF16, 5e-2);

  private static void requireSameSampled(Invariants invariants, float sampled) {
    Response response =
        new Response("", new int[] {2, 3}, new float[] {-2, sampled}, FinishReason.EOS);
    invariants.requireSameSampled(List.of(response), new float[][] {{-2, -2}});
  }

  private static void violated(String start, Executable body) {
    String message = assertThrows(RlhfException.class, body).getMessage();
    assertTrue(message.startsWith(start), message);
  }

  @Test
  void oneTokenFarFromRatioOneIsFoundWhateverTheMean() {
    // Rounding of a deep model in batches of other shapes.
    EXACT.requireLogRatiosZero(0.9e-3);
    violated("the log-ratio of new to old", () -> EXACT.requireLogRatiosZero(1.1e-3));
    violated("the log-ratio of new to old", () -> EXACT.requireLogRatiosZero(Double.NaN));
    // Healthy noise of bf16.
    COARSE.requireLogRatiosZero(0.2);
    violated("the log-ratio of new to old", () -> COARSE.requireLogRatiosZero(0.6));
    EXACT.requireRatioOne(1 - 0.9e-5);
    violated("the ratio of new to old", () -> EXACT.requireRatioOne(1 - 1.1e-5));
    COARSE.requireRatioOne(1 + 0.9e-3);
    violated("the ratio of new to old", () -> COARSE.requireRatioOne(1 + 1.1e-3));
  }

  @Test
  void rewardsAreComparedAsWhatComputesThemAllows() {
    EXACT.requireSameReward(20.001, 20);
    violated("the reward of a response", () -> EXACT.requireSameReward(20.003, 20));
    // One ulp of bf16 at 1, which has 8 bits: 2^-7.
    violated("the reward of a response", () -> EXACT.requireSameReward(1.0078125, 1));
    violated("the reward of a response", () -> EXACT.requireSameReward(Double.NaN, 1));
    // The policy's type says nothing of a server's.
    Invariants ofServer = new Invariants(() -> new float[1], ElementType.FP32, 5e-2);
    ofServer.requireSameReward(1.0078125, 1);
    ofServer.requireSameReward(-20.9, -20);
    violated("the reward of a response", () -> ofServer.requireSameReward(1.06, 1));
  }

  @Test
  void aSamplerWithATemperatureOfItsOwnIsFound() {
    requireSameSampled(EXACT, -2.0001f);
    violated("sampler and scorer differ", () -> requireSameSampled(EXACT, -2.001f));
    requireSameSampled(COARSE, -2.05f);
    violated("sampler and scorer differ", () -> requireSameSampled(COARSE, -2.2f));
  }

  @Test
  void largeValuesDoNotLoosenTheLogProbs() {
    EXACT.requireSameAlone(new float[] {-2, -2}, new float[] {-2, -2.0005f});
    EXACT.requireSameValuesAlone(new float[] {1000, 1000}, new float[] {1000, 1000.5f});
    violated(
        "a log-probability of a response differs",
        () -> EXACT.requireSameAlone(new float[] {-2, -2}, new float[] {-2, -2.01f}));
    violated(
        "a value of a response differs",
        () -> EXACT.requireSameValuesAlone(new float[] {1000, 1000}, new float[] {1000, 1002}));
  }
}
