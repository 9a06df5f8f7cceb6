package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.checkpoint.SaveFormat;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.EmbeddingTraining;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.LmHead;
import org.rlhf4j.core.model.LoraSpec;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.ModelWriter;
import org.rlhf4j.core.model.ParameterSpec;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.model.Weights;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.LiveTensors;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.ppo.rollout.NetworkTable;

/** The networks' gradients, and what must not change any number. */
class PpoNetworksTest {
  private static final double TEMPERATURE = 0.7;

  @TempDir Path temporary;

  private static ModelFolder model() {
    return ModelFolder.open(Shared.path("golden/algorithms/trlx_models/gpt2/policy0"));
  }

  private static PpoNetworks.Options options(
      int unfrozen, ValueNetwork value, int valueLayers, Recording recording) {
    return new PpoNetworks.Options(
        ElementType.FP32, null, 3, unfrozen, value, valueLayers, null, TEMPERATURE, recording);
  }

  private static final List<TokenRow> ROWS =
      List.of(
          TokenRow.targetsFrom(new int[] {1, 5, 9, 12, 7, 30, 2}, 3),
          TokenRow.targetsFrom(new int[] {1, 8, 22, 11, 2}, 2),
          TokenRow.targetsFrom(new int[] {1, 17, 4, 19, 33, 21, 6, 14, 2}, 6));

  /** Weights of a loss that is a sum over targets, different for each. */
  private static float[] coefficients(int count, double phase) {
    float[] found = new float[count];
    for (int i = 0; i < count; i++) {
      found[i] = (float) Math.sin(1.7 * i + phase);
    }
    return found;
  }

  private static double loss(Torch torch, PpoNetworks networks, PpoNetworks.States states) {
    PpoNetworks.Scored scored = networks.score(TokenBatch.ofTargets(ROWS), states);
    int count = scored.logProbs().length;
    return sum(coefficients(count, 0), scored.logProbs())
        + sum(coefficients(count, 1), entropies(torch, networks.policy()))
        + sum(coefficients(count, 2), scored.values());
  }

  private static float[] entropies(Torch torch, CausalLm policy) {
    TokenBatch batch = TokenBatch.ofTargets(ROWS);
    try (TensorScope scope = torch.scope()) {
      Tensor hidden = policy.decoder().forward(scope, batch, null, Recording.NONE).hidden();
      LmHead.Reading reading = new LmHead.Reading(true, TEMPERATURE);
      return policy.head().logProbs(scope, hidden, batch.targets(), reading).entropies();
    }
  }

  private static double sum(float[] coefficients, float[] numbers) {
    double sum = 0;
    for (int i = 0; i < numbers.length; i++) {
      sum += (double) coefficients[i] * numbers[i];
    }
    return sum;
  }

  private static List<Gradients> gradients(
      Torch torch, TensorScope scope, PpoNetworks networks, PpoNetworks.States states) {
    List<Gradients> into = new ArrayList<>();
    for (Optimization.Part part : networks.trained(1)) {
      into.add(new Gradients(torch.ops(), scope, part.weights()));
    }
    networks.addGradients(
        TokenBatch.ofTargets(ROWS),
        states,
        (logProbs, values) ->
            new PpoNetworks.Terms(
                coefficients(logProbs.length, 0),
                coefficients(logProbs.length, 1),
                coefficients(values.length, 2)),
        into);
    return into;
  }

  private static List<float[]> numbers(List<Gradients> gradients) {
    List<float[]> found = new ArrayList<>();
    gradients.forEach(each -> each.all().forEach(tensor -> found.add(tensor.toFloats())));
    return found;
  }

  @ParameterizedTest
  @CsvSource({
    "2, POLICY_HEAD, 0, FULL",
    "2, POLICY_HEAD, 0, PER_BLOCK",
    "2, POLICY_HEAD, 1, FULL",
    "2, POLICY_HEAD, 1, PER_BLOCK",
    "2, POLICY_HEAD, 2, FULL",
    "2, REFERENCE_BRANCH, 1, FULL",
    "2, REFERENCE_BRANCH, 2, PER_BLOCK",
    "2, SEPARATE, 0, FULL",
    "2, SEPARATE, 0, PER_BLOCK",
    "-1, POLICY_HEAD, 0, FULL",
    "-1, POLICY_HEAD, 3, PER_BLOCK",
    "-1, REFERENCE_BRANCH, 2, FULL",
    "-1, POLICY_HEAD, 4, FULL",
    "4, POLICY_HEAD, 4, FULL"
  })
  void gradientsAreThoseOfTheLoss(
      int unfrozen, ValueNetwork value, int valueLayers, Recording recording) {
    try (Torch torch = Torch.open("cpu");
        TensorScope scope = torch.scope();
        PpoNetworks networks =
            PpoNetworks.load(torch, model(), options(unfrozen, value, valueLayers, recording))) {
      List<Gradients> gradients = gradients(torch, scope, networks, null);
      List<Optimization.Part> parts = networks.trained(1);
      for (int part = 0; part < parts.size(); part++) {
        Weights weights = parts.get(part).weights();
        for (int i = 0; i < weights.parameters().size(); i++) {
          float[] gradient = gradients.get(part).all().get(i).toFloats();
          double norm = 0;
          for (float each : gradient) {
            norm += (double) each * each;
          }
          norm = Math.sqrt(norm);
          String name = parts.get(part).name() + weights.parameters().get(i).name();
          // Along its own gradient a parameter changes the loss by the gradient's norm.
          double step = 2e-3;
          double found =
              (lossAfter(torch, networks, weights, i, gradient, step / norm)
                      - lossAfter(torch, networks, weights, i, gradient, -step / norm))
                  / (2 * step);
          if (norm > 1e-6) {
            assertEquals(norm, found, 0.01 * norm + 2e-3, name);
          }
        }
        assertTrue(
            gradients.get(part).all().stream()
                .anyMatch(tensor -> torch.ops().norm(scope, List.of(tensor)) > 1e-3));
      }
    }
  }

  private static double lossAfter(
      Torch torch,
      PpoNetworks networks,
      Weights weights,
      int place,
      float[] direction,
      double step) {
    try (TensorScope scope = torch.scope()) {
      Tensor master = weights.masters().get(place);
      float[] before = master.toFloats();
      float[] moved = new float[before.length];
      for (int i = 0; i < moved.length; i++) {
        moved[i] = (float) (before[i] + step * direction[i]);
      }
      torch.ops().fill(scope, master, 0, moved);
      weights.followMasters();
      double loss = loss(torch, networks, null);
      torch.ops().fill(scope, master, 0, before);
      weights.followMasters();
      return loss;
    }
  }

  @ParameterizedTest
  @CsvSource({
    "2, POLICY_HEAD, 0",
    "2, POLICY_HEAD, 1",
    "2, REFERENCE_BRANCH, 1",
    "2, SEPARATE, 0",
    "-1, REFERENCE_BRANCH, 2"
  })
  void keptStatesChangeNothing(int unfrozen, ValueNetwork value, int valueLayers) {
    try (Torch torch = Torch.open("cpu");
        TensorScope scope = torch.scope();
        PpoNetworks networks =
            PpoNetworks.load(
                torch, model(), options(unfrozen, value, valueLayers, Recording.FULL))) {
      TokenBatch batch = TokenBatch.ofTargets(ROWS);
      int[] lengths = ROWS.stream().mapToInt(TokenRow::length).toArray();
      PpoNetworks.States whole = networks.states(scope, batch);
      PpoNetworks.States again =
          PpoNetworks.States.join(torch, scope, whole.split(torch, scope, lengths));
      assertEquals(unfrozen > 0, whole.trunk() != null);
      assertEquals(value == ValueNetwork.REFERENCE_BRANCH, whole.branch() != null);

      PpoNetworks.Scored fresh = networks.score(batch, null);
      PpoNetworks.Scored kept = networks.score(batch, again);
      assertArrayEquals(fresh.logProbs(), kept.logProbs());
      assertArrayEquals(fresh.referenceLogProbs(), kept.referenceLogProbs());
      assertArrayEquals(fresh.values(), kept.values());
      List<float[]> ofFresh = numbers(gradients(torch, scope, networks, null));
      List<float[]> ofKept = numbers(gradients(torch, scope, networks, again));
      for (int i = 0; i < ofFresh.size(); i++) {
        assertArrayEquals(ofFresh.get(i), ofKept.get(i), 1e-6f);
      }
    }
  }

  /** A row of the batch by itself has the same numbers. */
  @ParameterizedTest
  @EnumSource(ValueNetwork.class)
  void aRowDoesNotDependOnItsBatch(ValueNetwork value) {
    int valueLayers = value == ValueNetwork.REFERENCE_BRANCH ? 1 : 0;
    try (Torch torch = Torch.open("cpu");
        PpoNetworks networks =
            PpoNetworks.load(torch, model(), options(2, value, valueLayers, Recording.FULL))) {
      PpoNetworks.Scored all = networks.score(TokenBatch.ofTargets(ROWS), null);
      PpoNetworks.Scored one = networks.score(TokenBatch.ofTargets(ROWS.subList(0, 1)), null);
      int count = one.logProbs().length;
      assertArrayEquals(one.logProbs(), Arrays.copyOf(all.logProbs(), count), 1e-5f);
      assertArrayEquals(one.values(), Arrays.copyOf(all.values(), count), 1e-5f);
    }
  }

  @ParameterizedTest
  @EnumSource(ValueNetwork.class)
  void theValueNetworkOfTheReferenceAndTheSeparateOneLeaveThePolicyAlone(ValueNetwork value) {
    int valueLayers = value == ValueNetwork.REFERENCE_BRANCH ? 1 : 0;
    try (Torch torch = Torch.open("cpu");
        TensorScope scope = torch.scope();
        PpoNetworks networks =
            PpoNetworks.load(torch, model(), options(2, value, valueLayers, Recording.FULL))) {
      List<Gradients> into = new ArrayList<>();
      for (Optimization.Part part : networks.trained(1)) {
        into.add(new Gradients(torch.ops(), scope, part.weights()));
      }
      networks.addGradients(
          TokenBatch.ofTargets(ROWS),
          null,
          (logProbs, values) ->
              new PpoNetworks.Terms(
                  new float[logProbs.length], new float[0], coefficients(values.length, 2)),
          into);
      double norm = torch.ops().norm(scope, into.get(0).all());
      if (value == ValueNetwork.POLICY_HEAD) {
        assertTrue(norm > 1e-3, "flows into the policy");
      } else {
        assertEquals(0, norm, value.name());
      }
    }
  }

  /** The saved policy is an ordinary folder with the same numbers, its head no longer tied. */
  @Test
  void thePolicyIsSavedAsAnyModel() throws IOException {
    Path folder = temporary.resolve("policy");
    Files.createDirectory(folder);
    try (Torch torch = Torch.open("cpu");
        PpoNetworks networks =
            PpoNetworks.load(
                torch, model(), options(2, ValueNetwork.REFERENCE_BRANCH, 2, Recording.FULL))) {
      Tensor head = networks.policy().trained().masters().get(lmHead(networks));
      try (TensorScope scope = torch.scope()) {
        torch.ops().fill(scope, head, 5, new float[] {0.5f, -0.25f});
      }
      networks.policy().trained().followMasters();
      ModelWriter.causalLm(
          folder, model(), networks.policy(), new SaveFormat(StoredType.F32, 1L << 30));
      networks.writeValue(folder, StoredType.F32);
      float[] expected = networks.policy().logProbs(TokenBatch.ofTargets(ROWS), false).logProbs();
      ModelFolder saved = ModelFolder.open(folder);
      assertFalse(saved.config().path("tie_word_embeddings").asBoolean(true));
      try (CausalLm again =
          ModelLoader.causalLm(torch, saved, new ModelLoader.Options(ElementType.FP32, false))) {
        float[] found = again.logProbs(TokenBatch.ofTargets(ROWS), false).logProbs();
        assertArrayEquals(expected, found, 1e-6f);
      }
      SafetensorsFile value = SafetensorsFile.open(folder.resolve(PpoNetworks.VALUE_FILE));
      assertTrue(value.contains("v_head.0.weight"));
      assertTrue(value.contains("value.transformer.h.2.ln_1.weight"));
      assertFalse(value.contains("value.transformer.h.1.ln_1.weight"));
    }
  }

  /**
   * Sharing saves time and memory and nothing else: a policy whose top has moved, and its
   * reference, have the numbers and gradients of two models that share no weight and no state.
   */
  @ParameterizedTest
  @CsvSource({"true, false", "true, true", "false, false"})
  void aSharedTrunkIsTwoModels(boolean shared, boolean kept) throws IOException {
    PpoNetworks.Options options = split(2, shared);
    TokenBatch batch = TokenBatch.ofTargets(ROWS);
    Path folder = Files.createDirectory(temporary.resolve("policy"));
    try (Torch torch = Torch.open("cpu");
        TensorScope scope = torch.scope();
        PpoNetworks networks = PpoNetworks.load(torch, model(), options)) {
      Weights top = networks.policy().trained();
      for (Tensor master : top.masters()) {
        float[] moved = master.toFloats();
        float[] by = coefficients(moved.length, 3);
        for (int i = 0; i < moved.length; i++) {
          moved[i] += 0.05f * by[i];
        }
        torch.ops().fill(scope, master, 0, moved);
      }
      top.followMasters();
      ModelWriter.causalLm(
          folder, model(), networks.policy(), new SaveFormat(StoredType.F32, 1L << 30));
      PpoNetworks.States states = kept ? networks.states(scope, batch) : null;
      PpoNetworks.Scored scored = networks.score(batch, states);
      List<Gradients> into = new ArrayList<>();
      for (Optimization.Part part : networks.trained(1)) {
        into.add(new Gradients(torch.ops(), scope, part.weights()));
      }
      networks.addGradients(
          batch,
          states,
          (logProbs, values) ->
              new PpoNetworks.Terms(
                  coefficients(logProbs.length, 0), new float[0], new float[values.length]),
          into);
      try (CausalLm policy =
              ModelLoader.causalLm(
                  torch,
                  ModelFolder.open(folder),
                  new ModelLoader.Options(ElementType.FP32, true));
          CausalLm reference =
              ModelLoader.causalLm(
                  torch, model(), new ModelLoader.Options(ElementType.FP32, false))) {
        assertArrayEquals(policy.logProbs(batch, false).logProbs(), scored.logProbs(), 1e-6f);
        assertArrayEquals(
            reference.logProbs(batch, false).logProbs(), scored.referenceLogProbs(), 1e-6f);
        assertFalse(Arrays.equals(scored.logProbs(), scored.referenceLogProbs()));
        Weights all = policy.trained();
        Gradients ofAll = new Gradients(torch.ops(), scope, all);
        policy.addGradients(
            batch, logProbs -> coefficients(logProbs.length, 0), Recording.FULL, ofAll, false);
        for (int i = 0; i < top.parameters().size(); i++) {
          int same = names(all).indexOf(names(top).get(i));
          assertArrayEquals(
              ofAll.all().get(same).toFloats(),
              into.get(0).all().get(i).toFloats(),
              1e-5f,
              names(top).get(i));
        }
      }
    }
  }

  private static PpoNetworks.Options split(int unfrozen, boolean shared) {
    return new PpoNetworks.Options(
        ElementType.FP32,
        null,
        3,
        new ModelLoader.Split(unfrozen, EmbeddingTraining.NONE, shared),
        ValueNetwork.POLICY_HEAD,
        0,
        null,
        1,
        Recording.FULL);
  }

  /** The embedding is a frozen weight of the policy: the reference has another one, or the same. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void modelsApartHaveNoWeightInCommon(boolean shared) {
    TokenBatch batch = TokenBatch.ofTargets(ROWS);
    try (Torch torch = Torch.open("cpu")) {
      long before = LiveTensors.count(torch);
      try (PpoNetworks networks = PpoNetworks.load(torch, model(), split(2, shared));
          TensorScope scope = torch.scope()) {
        PpoNetworks.Scored first = networks.score(batch, null);
        assertArrayEquals(first.logProbs(), first.referenceLogProbs());
        Tensor embedding = networks.policy().weights().get(0);
        torch.ops().fill(scope, embedding, 5 * embedding.extent(1), new float[] {0.5f, -0.25f});
        PpoNetworks.Scored second = networks.score(batch, null);
        assertFalse(Arrays.equals(first.logProbs(), second.logProbs()));
        assertEquals(!shared, Arrays.equals(first.referenceLogProbs(), second.referenceLogProbs()));
        // What each computes for itself is nothing that could be kept for both.
        assertEquals(shared, networks.states(scope, batch).trunk() != null);
      }
      assertEquals(before, LiveTensors.count(torch));
    }
  }

  /**
   * Hand arithmetic: a block is 2 norms, 4 matrices and their biases, {@code 12 d² + 13 d}; the
   * policy's top has two of them, the last norm and a head of its own.
   */
  @ParameterizedTest
  @CsvSource({"2, true", "2, false", "4, true", "4, false"})
  void theTableSaysWhatThereIs(int unfrozen, boolean shared) {
    try (Torch torch = Torch.open("cpu");
        PpoNetworks networks = PpoNetworks.load(torch, model(), split(unfrozen, shared))) {
      DecoderSpec spec = networks.reference().decoder().spec();
      long width = spec.embedding().width();
      long head = spec.vocabularySize() * width;
      long embeddings = head + spec.maxPositions() * width;
      long block = 12 * width * width + 13 * width;
      long norm = 2 * width;
      long frozen = embeddings + (4 - unfrozen) * block;
      long top = unfrozen * block + norm + head;
      List<NetworkTable.Line> expected = new ArrayList<>();
      String ofTop = unfrozen == 4 ? "layers 0 to 3" : "layers 2 to 3";
      String ofFrozen = unfrozen == 4 ? "embeddings" : "embeddings, layers 0 to 1";
      if (shared && unfrozen == 4) {
        expected.add(new NetworkTable.Line("reference", ofTop, frozen + top - head, false));
        expected.add(new NetworkTable.Line("policy", ofTop, top, true));
      } else if (shared) {
        expected.add(new NetworkTable.Line("trunk, shared by all", ofFrozen, frozen, false));
        expected.add(new NetworkTable.Line("reference, its top", ofTop, top - head, false));
        expected.add(new NetworkTable.Line("policy, its top", ofTop, top, true));
      } else {
        expected.add(
            new NetworkTable.Line("reference", "layers 0 to 3", frozen + top - head, false));
        expected.add(new NetworkTable.Line("policy, its frozen part", ofFrozen, frozen, false));
        expected.add(new NetworkTable.Line("policy, its top", ofTop, top, true));
      }
      long valueHead = 2 * width * width + 2 * width + 2 * width + 1;
      expected.add(new NetworkTable.Line("value head", "", valueHead, true));
      assertEquals(expected, networks.table().lines());
    }
  }

  private static List<String> names(Weights weights) {
    return weights.parameters().stream().map(ParameterSpec::name).toList();
  }

  private static int lmHead(PpoNetworks networks) {
    return networks.policy().trained().parameters().size() - 1;
  }

  @Test
  void adaptersOffAreTheReference() {
    LoraSpec lora = new LoraSpec(2, 4, 0, List.of(LoraSpec.ALL_LINEAR), false, List.of());
    PpoNetworks.Options options =
        new PpoNetworks.Options(
            ElementType.FP32, lora, 3, -1, ValueNetwork.POLICY_HEAD, 0, null, 1, Recording.FULL);
    try (Torch torch = Torch.open("cpu");
        TensorScope scope = torch.scope();
        PpoNetworks networks = PpoNetworks.load(torch, model(), options)) {
      PpoNetworks.Scored before = networks.score(TokenBatch.ofTargets(ROWS), null);
      assertArrayEquals(before.logProbs(), before.referenceLogProbs());
      Weights adapter = networks.policy().trained();
      for (Tensor tensor : adapter.masters()) {
        float[] noise = coefficients((int) tensor.size(), 1);
        torch.ops().fill(scope, tensor, 0, noise);
      }
      adapter.followMasters();
      PpoNetworks.Scored after = networks.score(TokenBatch.ofTargets(ROWS), null);
      assertArrayEquals(before.referenceLogProbs(), after.referenceLogProbs());
      assertFalse(Arrays.equals(before.logProbs(), after.logProbs()));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "0, POLICY_HEAD, 0, 'num_layers_unfrozen: 0; allowed: -1 for all layers, or 1 to 4'",
    "5, POLICY_HEAD, 0, 'num_layers_unfrozen: 5; allowed: -1 for all layers, or 1 to 4'",
    "2, POLICY_HEAD, 3, 'num_value_layers_unfrozen: 3; allowed with value_network policy_head: 0 to 2'",
    "2, REFERENCE_BRANCH, 0, 'allowed with value_network reference_branch: 1 to 2'",
    "2, REFERENCE_BRANCH, 3, 'allowed with value_network reference_branch: 1 to 2'",
    "2, SEPARATE, 1, 'num_value_layers_unfrozen: 1 has no meaning for value_network separate'"
  })
  void layersThatDoNotFitAreErrors(
      int unfrozen, ValueNetwork value, int valueLayers, String message) {
    try (Torch torch = Torch.open("cpu")) {
      RlhfException error =
          assertThrows(
              RlhfException.class,
              () ->
                  PpoNetworks.load(
                          torch, model(), options(unfrozen, value, valueLayers, Recording.FULL))
                      .close());
      assertEquals(ExitCode.CONFIG, error.exitCode());
      assertTrue(error.getMessage().contains(message), error.getMessage());
    }
  }
}
