package org.rlhf4j.ppo.group;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.LrSchedulerType;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.testing.NativeMemory;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.AdamW;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.LearningRateSchedule;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.ppo.ClipRange;
import org.rlhf4j.ppo.rollout.Invariants;

/** Steps on groups, their parts and their files, without a run. */
class GroupStepTest {
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

  private GroupNetworks networks(int unfrozen, boolean reference) {
    return GroupNetworks.load(
        torch,
        start,
        new GroupNetworks.Options(
            ElementType.FP32, null, 1, unfrozen, reference, 1, Recording.FULL));
  }

  /** Three groups of two responses. */
  private static List<GroupSample> samples(int number) {
    List<GroupSample> samples = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      int[] prompt = new int[9 + i / 2 * 3];
      Arrays.setAll(prompt, t -> 5 + t);
      int[] ids = new int[3 + (number + i) % 5];
      Arrays.setAll(ids, t -> 10 + t + number % 50);
      double[] advantages = new double[ids.length];
      Arrays.fill(advantages, i % 2 - 0.5);
      float[] numbers = new float[ids.length];
      Arrays.fill(numbers, -5);
      samples.add(new GroupSample(i / 2, prompt, ids, numbers, numbers, advantages));
    }
    return samples;
  }

  /** GRPO's loss with a KL. */
  private static final class Method implements GroupMethod {
    @Override
    public String name() {
      return "test";
    }

    @Override
    public String title() {
      return "Test";
    }

    @Override
    public boolean comparesLogProbs() {
      return false;
    }

    @Override
    public double[][] advantages(GroupRollout rollout, Map<String, Object> figures) {
      throw new IllegalStateException("no roll-outs here");
    }

    @Override
    public Share loss(Part part) {
      GroupLoss.Loss loss =
          GroupLoss.of(
              part.logProbs(),
              part.oldLogProbs(),
              part.referenceLogProbs(),
              part.advantages(),
              GroupLossType.DAPO.weights(part.lengths(), part.part(), part.batch()),
              GroupLoss.Settings.grpo(ClipRange.of(0.2), 0.1));
      return new Share(
          loss.loss(),
          loss.derivative(),
          loss.tokens().ratios() / part.batch().tokens(),
          0,
          0,
          Map.of());
    }
  }

  @ParameterizedTest
  @CsvSource({"1, true", "-1, false"})
  void twoHundredStepsKeepTheirNativeMemory(int unfrozen, boolean reference) {
    try (GroupNetworks networks = networks(unfrozen, reference);
        Optimization optimization =
            new Optimization(
                torch,
                networks.policy().trained(),
                new AdamW.Settings(0.9, 0.999, 1e-8, 0),
                new LearningRateSchedule(LrSchedulerType.CONSTANT, 1e-4, 0, 200, 0),
                1)) {
      GroupStep step = new GroupStep(torch, networks, optimization, new Method(), 8);
      NativeMemory.assertStays(
          torch,
          ALLOWED_MIB,
          number -> {
            List<GroupSample> samples = samples(number);
            GroupParts parts = GroupParts.of(samples.stream().map(GroupSample::row).toList(), 2, 4);
            try (GroupTrunk trunk = new GroupTrunk(torch)) {
              trunk.fill(networks, parts, 3);
              List<List<Integer>> batches = parts.batches(parts.of(new int[] {2, 0, 1}), 4);
              step.run(new GroupStep.Work(samples, parts, batches, trunk), ratios -> {});
              step.run(new GroupStep.Work(samples, parts, batches, null), ratios -> {});
              try (TensorScope scope = torch.scope()) {
                TokenBatch batch = parts.batch(parts.all());
                Tensor states = networks.trunk(scope, batch);
                networks.logProbs(batch, states);
                if (reference) {
                  networks.referenceLogProbs(batch, states);
                }
              }
            }
          });
      assertEquals(400, optimization.steps());
    }
  }

  @Test
  void aRatioThatIsRefusedMovesNothing() {
    try (GroupNetworks networks = networks(1, true);
        Optimization optimization =
            new Optimization(
                torch,
                networks.policy().trained(),
                new AdamW.Settings(0.9, 0.999, 1e-8, 0),
                new LearningRateSchedule(LrSchedulerType.CONSTANT, 1e-4, 0, 200, 0),
                1)) {
      GroupStep step = new GroupStep(torch, networks, optimization, new Method(), 8);
      List<GroupSample> samples = samples(1);
      GroupParts parts = GroupParts.of(samples.stream().map(GroupSample::row).toList(), 2, 2);
      GroupStep.Work work = new GroupStep.Work(samples, parts, parts.batches(parts.all(), 2), null);
      Invariants invariants =
          new Invariants(networks::referenceFingerprint, ElementType.FP32, 1e-4);
      RlhfException thrown =
          assertThrows(
              RlhfException.class,
              () -> step.run(work, found -> invariants.requireRatioOne(found.mean())));
      assertTrue(thrown.getMessage().startsWith("the ratio of new to old"), thrown.getMessage());
      assertEquals(0, optimization.steps());
      assertEquals(6, work.lines().size());
    }
  }

  @Test
  void groupsAreCutIntoPartsThatFit() {
    List<GroupSample> samples = samples(2);
    List<Integer> lengths = samples.stream().map(sample -> sample.row().length()).toList();
    GroupParts whole = GroupParts.of(samples.stream().map(GroupSample::row).toList(), 2, 5);
    assertEquals(List.of(0, 1, 2), whole.all());
    assertEquals(List.of(2, 0), whole.of(new int[] {2, 0}));
    // Two groups of two fit into five, three do not.
    assertEquals(List.of(List.of(0, 1), List.of(2)), whole.batches(whole.all(), 5));
    GroupParts single = GroupParts.of(samples.stream().map(GroupSample::row).toList(), 2, 1);
    assertEquals(List.of(4, 5, 0, 1), single.of(new int[] {2, 0}));
    GroupParts three = GroupParts.of(samples.stream().map(GroupSample::row).toList(), 6, 4);
    assertEquals(2, three.places().size());
    assertEquals(3, three.places().get(0).length);
    // Short rows first.
    int[] order = three.placesOf(three.all());
    for (int i = 1; i < 6; i++) {
      assertTrue(lengths.get(order[i - 1]) <= lengths.get(order[i]));
    }
  }

  @Test
  void samplesAreReadAsTheyWereWritten() throws IOException {
    List<GroupSample> samples = new ArrayList<>(samples(3));
    float[] odd = {-1e-7f, -0.1f, -Float.MIN_VALUE, -12345.678f};
    double[] advantages = {Math.PI, -1e-300, 0.1 + 0.2, -0.0};
    samples.add(new GroupSample(7, new int[] {1}, new int[] {2, 3, 4, 5}, null, odd, advantages));
    samples.add(new GroupSample(7, new int[] {1}, new int[] {2, 3, 4, 5}, odd, null, advantages));
    Path file = temporary.resolve("rollout.jsonl");
    GroupSampleFile.write(file, samples);
    List<GroupSample> found = GroupSampleFile.read(file);
    assertEquals(samples.size(), found.size());
    for (int i = 0; i < found.size(); i++) {
      assertEquals(samples.get(i).index(), found.get(i).index());
      assertArrayEquals(samples.get(i).promptIds(), found.get(i).promptIds());
      assertArrayEquals(samples.get(i).ids(), found.get(i).ids());
      assertArrayEquals(samples.get(i).logProbs(), found.get(i).logProbs());
      assertArrayEquals(samples.get(i).referenceLogProbs(), found.get(i).referenceLogProbs());
      assertArrayEquals(samples.get(i).advantages(), found.get(i).advantages());
    }
    List<String> lines = new ArrayList<>(Files.readAllLines(file));
    lines.set(2, lines.get(2).replaceFirst("\"advantages\":\\[[^,]*,", "\"advantages\":["));
    Files.write(file, lines);
    RlhfException thrown = assertThrows(RlhfException.class, () -> GroupSampleFile.read(file));
    assertTrue(thrown.getMessage().contains(file + ":3: is no response"), thrown.getMessage());
    assertTrue(thrown.getMessage().contains("advantages, expected"), thrown.getMessage());
  }
}
