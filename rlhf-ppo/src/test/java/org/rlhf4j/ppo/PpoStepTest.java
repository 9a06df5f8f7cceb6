package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.LrSchedulerType;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.LoraSpec;
import org.rlhf4j.core.model.Weights;
import org.rlhf4j.core.testing.NativeMemory;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.AdamW;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.LiveTensors;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.LearningRateSchedule;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.ppo.rollout.Invariants;
import org.rlhf4j.ppo.rollout.KlEstimator;

/** Steps, and the checks around them, without a run. */
class PpoStepTest {
  /** What compiled code and caches may still take; 150 steps of leaked states take 20 MiB. */
  private static final double ALLOWED_MIB = 8;

  @TempDir Path temporary;
  private Torch torch;
  private ModelFolder start;

  @BeforeEach
  void open() throws IOException {
    torch = Torch.open("cpu");
    start = ModelFolder.open(TinyModel.causalLm(temporary.resolve("m"), 1));
  }

  @AfterEach
  void close() {
    torch.close();
  }

  private PpoNetworks networks(ValueNetwork value, int layers) {
    return PpoNetworks.load(
        torch,
        start,
        new PpoNetworks.Options(
            ElementType.FP32, null, 1, 1, value, layers, null, 1, Recording.FULL));
  }

  private static UpdateConfig config() {
    return new UpdateConfig(
        1,
        4,
        0.05,
        KlEstimator.K1,
        null,
        1,
        ScoreScale.NONE,
        false,
        1,
        0.95,
        true,
        0.2,
        0.2,
        null,
        0.1,
        0.01,
        null);
  }

  private static List<Experience> samples(int number) {
    List<Experience> samples = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      int[] ids = new int[3 + (number + i) % 5];
      Arrays.setAll(ids, t -> 10 + t + number % 50);
      double[] advantages = new double[ids.length];
      Arrays.setAll(advantages, t -> t % 2 - 0.5);
      float[] numbers = new float[ids.length];
      Arrays.fill(numbers, -5);
      samples.add(
          new Experience(
              i,
              new int[] {1, 2, 3},
              ids,
              numbers,
              numbers,
              numbers,
              advantages,
              advantages,
              advantages,
              null));
    }
    return samples;
  }

  @ParameterizedTest
  @CsvSource({"POLICY_HEAD, 0", "REFERENCE_BRANCH, 1"})
  void twoHundredStepsKeepTheirNativeMemory(ValueNetwork value, int layers) {
    try (PpoNetworks networks = networks(value, layers)) {
      List<Optimization.Part> parts = networks.trained(1);
      try (Optimization optimization =
          new Optimization(
              torch,
              parts,
              new AdamW.Settings(0.9, 0.999, 1e-8, 0),
              new LearningRateSchedule(LrSchedulerType.CONSTANT, 1e-4, 0, 200, 0),
              1)) {
        PpoStep step = new PpoStep(torch, networks, optimization, parts, config());
        NativeMemory.assertStays(
            torch,
            ALLOWED_MIB,
            number -> {
              List<Experience> samples = samples(number);
              List<TokenRow> rows = samples.stream().map(Experience::row).toList();
              List<int[]> microBatches = List.of(new int[] {0, 2}, new int[] {3, 1});
              try (TrunkCache cache = TrunkCache.of(torch, networks, rows, 3)) {
                step.run(samples, microBatches, cache, found -> number % 3 != 0);
              }
              step.run(samples, microBatches, null, found -> true);
            });
      }
    }
  }

  /** The layouts whose way through a step is another one; the resident set is looked at above. */
  @ParameterizedTest
  @CsvSource({"POLICY_HEAD, 1, false", "SEPARATE, 0, false", "POLICY_HEAD, 0, true"})
  void noStepLeavesATensorBehind(ValueNetwork value, int layers, boolean lora) {
    LoraSpec adapters = new LoraSpec(4, 8, 0, List.of(LoraSpec.ALL_LINEAR), false, List.of());
    PpoNetworks.Options options =
        new PpoNetworks.Options(
            ElementType.FP32,
            lora ? adapters : null,
            1,
            lora ? -1 : 1,
            value,
            layers,
            null,
            1,
            Recording.FULL);
    try (PpoNetworks networks = PpoNetworks.load(torch, start, options)) {
      List<Optimization.Part> parts = networks.trained(1);
      try (Optimization optimization =
          new Optimization(
              torch,
              parts,
              new AdamW.Settings(0.9, 0.999, 1e-8, 0),
              new LearningRateSchedule(LrSchedulerType.CONSTANT, 1e-4, 0, 60, 0),
              1)) {
        PpoStep step = new PpoStep(torch, networks, optimization, parts, config());
        int settled = 0;
        for (int number = 1; number <= 60; number++) {
          List<Experience> samples = samples(number);
          List<TokenRow> rows = samples.stream().map(Experience::row).toList();
          List<int[]> microBatches = List.of(new int[] {0, 2}, new int[] {3, 1});
          try (TrunkCache cache = TrunkCache.of(torch, networks, rows, 3)) {
            step.run(samples, microBatches, cache, found -> true);
          }
          step.run(samples, microBatches, null, found -> false);
          settled = number == 1 ? LiveTensors.count(torch) : settled;
          assertEquals(settled, LiveTensors.count(torch), "after step " + number);
        }
      }
    }
  }

  @Test
  void aStepThatIsNotWantedMovesNothing() {
    try (PpoNetworks networks = networks(ValueNetwork.POLICY_HEAD, 0)) {
      List<Optimization.Part> parts = networks.trained(1);
      try (Optimization optimization =
              new Optimization(
                  torch,
                  parts,
                  new AdamW.Settings(0.9, 0.999, 1e-8, 0),
                  new LearningRateSchedule(LrSchedulerType.CONSTANT, 1e-4, 0, 200, 0),
                  1);
          TensorScope scope = torch.scope()) {
        PpoStep step = new PpoStep(torch, networks, optimization, parts, config());
        List<int[]> all = List.of(new int[] {0, 1, 2, 3});
        float[] before = torch.ops().norms(scope, networks.policy().trained().masters());
        assertEquals(null, step.run(samples(1), all, null, found -> false).update());
        assertEquals(0, optimization.steps());
        float[] after = torch.ops().norms(scope, networks.policy().trained().masters());
        assertTrue(Arrays.equals(before, after));
        step.run(samples(1), all, null, found -> true);
        after = torch.ops().norms(scope, networks.policy().trained().masters());
        assertTrue(!Arrays.equals(before, after));
      }
    }
  }

  @Test
  void whatMustHoldIsChecked() {
    try (PpoNetworks networks = networks(ValueNetwork.POLICY_HEAD, 0);
        TensorScope scope = torch.scope()) {
      Invariants invariants =
          new Invariants(networks::referenceFingerprint, ElementType.FP32, 1e-4);
      invariants.requireRatioOne(1 + 9e-6);
      for (double ratio : new double[] {1.00002, 0.99998, Double.NaN}) {
        violated(
            () -> invariants.requireRatioOne(ratio),
            "the ratio of new to old probability is " + ratio);
      }
      new Invariants(networks::referenceFingerprint, ElementType.BF16, 5e-2)
          .requireRatioOne(1.0009);

      float[][] one = {{-1}};
      invariants.requireReferenceIsPolicy(one, one);
      violated(
          () -> invariants.requireReferenceIsPolicy(one, new float[][] {{-1.0001f}}),
          "policy and reference differ by ");

      invariants.requireSameReward(2, 2);
      violated(
          () -> invariants.requireSameReward(2.1, 2),
          "the reward of a response is 2.1 by itself and 2.0 among others");

      assertEquals(0, invariants.drift());
      // One number of one frozen tensor, by the least that fp32 can tell.
      float[] numbers = networks.reference().weights().get(0).toFloats();
      numbers[7] = Math.nextUp(numbers[7]);
      Weights.fill(
          torch.ops(),
          scope,
          networks.reference().weights().get(0),
          (from, target) ->
              target.put(FloatBuffer.wrap(numbers, Math.toIntExact(from), target.remaining())));
      violated(invariants::drift, "the frozen reference has changed, ");
    }
  }

  private static void violated(Runnable check, String beginning) {
    RlhfException thrown = assertThrows(RlhfException.class, check::run);
    assertTrue(thrown.getMessage().startsWith(beginning), thrown.getMessage());
    assertTrue(
        thrown.getMessage().contains("Likely causes, the likeliest first: (1) "),
        thrown.getMessage());
  }
}
