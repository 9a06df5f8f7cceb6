package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.LrSchedulerType;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.AdamW;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.LiveTensors;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.LearningRateSchedule;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.ppo.rollout.Floats;

/** What trlX makes of the parts of a step. */
class TrlxStepTest {
  private static final TrlxMiniBatch.Settings LOSS =
      new TrlxMiniBatch.Settings(1, 0.95, 0.2, 0.2, 1);

  @TempDir Path temporary;

  private static List<TrlxSample> samples() {
    Random random = new Random(1);
    List<TrlxSample> samples = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      int positions = 3 + i;
      int[] response = random.ints(positions, 0, 256).toArray();
      double[] logProbs = random.doubles(positions, -6, -5).toArray();
      double[] values = random.doubles(positions, -1, 1).toArray();
      double[] rewards = random.doubles(positions, -1, 1).toArray();
      samples.add(
          new TrlxSample(
              new int[] {7, 8, 9}, 3, response, positions, logProbs, logProbs, values, rewards));
    }
    return samples;
  }

  /**
   * {@code loss.backward()} after each micro-batch, each with its own mean and its own whitening:
   * gradients add up, and are not divided.
   */
  @Test
  void gradientsOfMicroBatchesAreSummed() throws IOException {
    ModelFolder start = ModelFolder.open(TinyModel.causalLm(temporary.resolve("m"), 1));
    PpoNetworks.Options options =
        new PpoNetworks.Options(
            ElementType.FP32,
            null,
            1,
            new ModelLoader.Split(1, TrlxCompat.HEAD.embeddings(), true),
            ValueNetwork.POLICY_HEAD,
            0,
            null,
            1,
            Recording.FULL);
    try (Torch torch = Torch.open("cpu");
        PpoNetworks networks = PpoNetworks.load(torch, start, options)) {
      TrlxStep.Settings settings =
          new TrlxStep.Settings(
              TrlxCompat.HEAD,
              TrlxPlaces.of(TrlxCompat.HEAD, networks.policy().decoder().spec()),
              0,
              LOSS);
      List<TrlxSample> samples = samples();
      double[] first = gradient(torch, networks, settings, samples.subList(0, 2));
      double[] second = gradient(torch, networks, settings, samples.subList(2, 4));
      double[] sum = new double[first.length];
      Arrays.setAll(sum, i -> first[i] + second[i]);
      double expected = norm(sum);
      double whole = norm(gradient(torch, networks, settings, samples));
      assertTrue(Math.abs(whole - expected) > 0.1 * expected, whole + " and " + expected);
      List<Optimization.Part> parts = networks.trained(1);
      try (Optimization optimization =
          new Optimization(
              torch,
              parts,
              new AdamW.Settings(0.9, 0.95, 1e-8, 0),
              new LearningRateSchedule(LrSchedulerType.CONSTANT, 1e-4, 0, 1, 0),
              0)) {
        List<Experience> kept = samples.stream().map(sample -> sample.kept(0)).toList();
        List<int[]> microBatches = List.of(new int[] {0, 1}, new int[] {2, 3});
        TrlxStep step = new TrlxStep(torch, networks, optimization, parts, settings);
        PpoStep.Outcome outcome = step.run(kept, microBatches, found -> true);
        assertEquals(expected, outcome.update().gradientNorm(), 1e-5 * expected);
        int settled = LiveTensors.count(torch);
        for (int number = 0; number < 60; number++) {
          step.run(kept, microBatches, found -> true);
          assertEquals(settled, LiveTensors.count(torch), "no step leaves a tensor behind");
        }
      }
    }
  }

  private static double[] gradient(
      Torch torch, PpoNetworks networks, TrlxStep.Settings settings, List<TrlxSample> samples) {
    TrlxMiniBatch miniBatch =
        new TrlxMiniBatch(settings.version(), settings.places(), settings.padId(), samples, LOSS);
    try (TensorScope scope = torch.scope()) {
      List<Gradients> sums = new ArrayList<>();
      for (Optimization.Part part : networks.trained(1)) {
        sums.add(new Gradients(torch.ops(), scope, part.weights()));
      }
      networks.addGradients(
          miniBatch.batch(),
          null,
          (logProbs, values) -> miniBatch.loss(logProbs, values, LOSS).terms(),
          sums);
      return sums.stream()
          .flatMap(each -> each.all().stream())
          .map(Tensor::toFloats)
          .flatMapToDouble(floats -> Arrays.stream(Floats.wide(floats)))
          .toArray();
    }
  }

  private static double norm(double[] vector) {
    return Math.sqrt(Arrays.stream(vector).map(x -> x * x).sum());
  }
}
