package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.model.Weights;
import org.rlhf4j.core.testing.TinyFamilies;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.Optimization;

/** Policy, reference and value branch on one frozen block, for each family. */
class PpoFamiliesTest {
  private static final float TOLERANCE = 2e-5f;

  @TempDir Path temporary;

  static List<String> families() throws IOException {
    return TinyFamilies.modelTypes();
  }

  private static List<TokenRow> rows() {
    Random random = new Random(2);
    List<TokenRow> rows = new ArrayList<>();
    for (int prompt : new int[] {3, 9, 5}) {
      rows.add(TokenRow.targetsFrom(random.ints(prompt + 6, 0, 256).toArray(), prompt));
    }
    return rows;
  }

  @ParameterizedTest
  @MethodSource("families")
  void theNetworksAreThoseOfTheModel(String family) throws IOException {
    ModelFolder start = ModelFolder.open(TinyFamilies.causalLm(temporary, family, 1));
    TokenBatch batch = TokenBatch.ofTargets(rows());
    try (Torch torch = Torch.open("cpu");
        PpoNetworks networks =
            PpoNetworks.load(
                torch,
                start,
                new PpoNetworks.Options(
                    ElementType.FP32,
                    null,
                    1,
                    1,
                    ValueNetwork.REFERENCE_BRANCH,
                    1,
                    null,
                    1,
                    Recording.FULL));
        TensorScope scope = torch.scope()) {
      PpoNetworks.States states = networks.states(scope, batch);
      PpoNetworks.Scored scored = networks.score(batch, states);
      Plain plain = plain(torch, start, networks.trained(1).get(2).weights());
      assertArrayEquals(plain.logProbs, scored.logProbs(), TOLERANCE);
      assertArrayEquals(plain.logProbs, scored.referenceLogProbs(), TOLERANCE);
      assertArrayEquals(plain.values, scored.values(), TOLERANCE);
      PpoNetworks.Scored again = networks.score(batch, null);
      assertArrayEquals(scored.logProbs(), again.logProbs(), TOLERANCE);
      assertArrayEquals(scored.values(), again.values(), TOLERANCE);

      List<Gradients> kept = gradients(torch, scope, networks, batch, states);
      List<Gradients> computed = gradients(torch, scope, networks, batch, null);
      List<Optimization.Part> parts = networks.trained(1);
      assertEquals(3, parts.size());
      for (int part = 0; part < 3; part++) {
        // The first of the policy, of the value branch and of its head.
        float[] gradient = kept.get(part).all().get(0).toFloats();
        float[] other = computed.get(part).all().get(0).toFloats();
        double norm = norm(gradient);
        for (int i = 0; i < gradient.length; i++) {
          assertEquals(gradient[i], other[i], 1e-4 * norm);
        }
        double slope = slope(torch, networks, batch, parts.get(part).weights(), gradient);
        assertEquals(norm, slope, 1e-2 * norm + 5e-3, "part " + part);
      }
    }
  }

  /** What is expected of all targets. */
  private record Plain(float[] logProbs, float[] values) {}

  /** Of each row by itself in one pass through all blocks; before training the branch is a copy. */
  private static Plain plain(Torch torch, ModelFolder start, Weights head) {
    ModelLoader.Options options = new ModelLoader.Options(ElementType.FP32, false);
    FloatBuffer logProbs = FloatBuffer.allocate(18);
    FloatBuffer values = FloatBuffer.allocate(18);
    try (CausalLm model = ModelLoader.causalLm(torch, start, options)) {
      for (TokenRow row : rows()) {
        TokenBatch batch = TokenBatch.ofTargets(List.of(row));
        logProbs.put(model.logProbs(batch, false).logProbs());
        try (TensorScope scope = torch.scope()) {
          Tensor hidden = model.decoder().forward(scope, batch, Recording.NONE).hidden();
          int width = hidden.extent(1);
          float[] states = hidden.toFloats();
          for (int from = 0; from < states.length; from += width) {
            values.put(value(head, Arrays.copyOfRange(states, from, from + width)));
          }
        }
      }
    }
    return new Plain(logProbs.array(), values.array());
  }

  /** {@code Linear(d, 2d)}, ReLU, {@code Linear(2d, 1)}. */
  private static float value(Weights head, float[] state) {
    float[][] numbers = head.all().stream().map(Tensor::toFloats).toArray(float[][]::new);
    double value = numbers[3][0];
    for (int unit = 0; unit < numbers[1].length; unit++) {
      double inner = numbers[1][unit];
      for (int i = 0; i < state.length; i++) {
        inner += (double) numbers[0][unit * state.length + i] * state[i];
      }
      value += Math.max(0, inner) * numbers[2][unit];
    }
    return (float) value;
  }

  /** How much a log-probability, or a value, counts in the loss. */
  private static float[] factors(int count, int seed) {
    Random random = new Random(seed);
    float[] factors = new float[count];
    for (int i = 0; i < count; i++) {
      factors[i] = random.nextFloat() - 0.5f;
    }
    return factors;
  }

  private static List<Gradients> gradients(
      Torch torch,
      TensorScope scope,
      PpoNetworks networks,
      TokenBatch batch,
      PpoNetworks.States states) {
    List<Gradients> sums = new ArrayList<>();
    for (Optimization.Part part : networks.trained(1)) {
      sums.add(new Gradients(torch.ops(), scope, part.weights()));
    }
    networks.addGradients(
        batch,
        states,
        (logProbs, values) ->
            new PpoNetworks.Terms(
                factors(logProbs.length, 1), new float[0], factors(values.length, 2)),
        sums);
    return sums;
  }

  private static double loss(PpoNetworks networks, TokenBatch batch) {
    PpoNetworks.Scored scored = networks.score(batch, null);
    float[] ofLogProbs = factors(scored.logProbs().length, 1);
    float[] ofValues = factors(scored.values().length, 2);
    double loss = 0;
    for (int t = 0; t < ofLogProbs.length; t++) {
      loss += (double) ofLogProbs[t] * scored.logProbs()[t];
      loss += (double) ofValues[t] * scored.values()[t];
    }
    return loss;
  }

  private static double norm(float[] vector) {
    double squares = 0;
    for (float x : vector) {
      squares += (double) x * x;
    }
    return Math.sqrt(squares);
  }

  /** How fast the loss rises along the gradient of the first of some weights. */
  private static double slope(
      Torch torch, PpoNetworks networks, TokenBatch batch, Weights weights, float[] gradient) {
    // Narrow, as ReLUs bend the loss; fp32 leaves some thousandths of noise then.
    double width = 1e-4;
    double norm = norm(gradient);
    Tensor tensor = weights.masters().get(0);
    float[] middle = tensor.toFloats();
    double[] losses = new double[2];
    for (int side = 0; side < 2; side++) {
      float[] moved = new float[middle.length];
      for (int i = 0; i < moved.length; i++) {
        moved[i] = (float) (middle[i] + (2 * side - 1) * width * gradient[i] / norm);
      }
      put(torch, weights, tensor, moved);
      losses[side] = loss(networks, batch);
    }
    put(torch, weights, tensor, middle);
    return (losses[1] - losses[0]) / (2 * width);
  }

  private static void put(Torch torch, Weights weights, Tensor tensor, float[] numbers) {
    try (TensorScope scope = torch.scope()) {
      Weights.fill(
          torch.ops(),
          scope,
          tensor,
          (from, target) -> target.put(numbers, Math.toIntExact(from), target.remaining()));
    }
    weights.followMasters();
  }
}
