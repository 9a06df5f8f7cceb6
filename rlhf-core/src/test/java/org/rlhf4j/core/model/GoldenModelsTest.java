package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.generate.SamplingConfig;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * Holds every LLaMA folder of the golden files to what Hugging Face computed in fp32. Tolerances
 * are those of the golden files' README.
 */
class GoldenModelsTest {
  private static Torch torch;

  @BeforeAll
  static void open() {
    torch = Torch.open("cpu");
  }

  @AfterAll
  static void close() {
    torch.close();
  }

  static Stream<GoldenCase> languageModels() throws IOException {
    return GoldenCase.all(ModelHead.CAUSAL_LM);
  }

  static Stream<GoldenCase> rewardModels() throws IOException {
    return GoldenCase.all(ModelHead.SEQUENCE_CLASSIFICATION);
  }

  @ParameterizedTest
  @MethodSource("languageModels")
  void logitsAreHuggingFaces(GoldenCase golden) {
    try (CausalLm model = golden.causalLm(torch, ElementType.FP32)) {
      List<int[]> rows = golden.rows();
      List<float[]> truth = golden.perRow("logits", 0);
      List<float[]> together = GoldenCase.logits(model, rows);
      for (int b = 0; b < rows.size(); b++) {
        assertArrayEquals(truth.get(b), together.get(b), 1e-4f, "row " + b + " in a batch");
        float[] alone = GoldenCase.logits(model, List.of(rows.get(b))).get(0);
        assertArrayEquals(truth.get(b), alone, 1e-4f, "row " + b + " alone");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("languageModels")
  void hiddenStatesOfTheFirstRowAreHuggingFaces(GoldenCase golden) {
    try (CausalLm model = golden.causalLm(torch, ElementType.FP32)) {
      compareHiddenStates(golden, model.decoder());
    }
  }

  @ParameterizedTest
  @MethodSource("rewardModels")
  void hiddenStatesOfRewardModelsAreHuggingFaces(GoldenCase golden) {
    try (RewardModel model = golden.rewardModel(torch, ElementType.FP32)) {
      compareHiddenStates(golden, model.decoder());
    }
  }

  private static void compareHiddenStates(GoldenCase golden, Decoder decoder) {
    try (TensorScope scope = torch.scope()) {
      TokenRow row = golden.everyTarget().get(0);
      List<Tensor> states = decoder.hiddenStates(scope, TokenBatch.ofTargets(List.of(row)));
      assertEquals(decoder.spec().layers() + 1, states.size());
      for (int i = 0; i < states.size(); i++) {
        float[] truth = golden.tensors().readFloats("hidden." + i);
        assertArrayEquals(truth, states.get(i).toFloats(), 1e-4f, "hidden." + i);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("languageModels")
  void logProbsAreHuggingFaces(GoldenCase golden) {
    try (CausalLm model = golden.causalLm(torch, ElementType.FP32)) {
      TokenBatch batch = TokenBatch.ofTargets(golden.everyTarget());
      float[] found = model.logProbs(batch, false).logProbs();
      int at = 0;
      for (float[] row : golden.perRow("token_logprobs", 1)) {
        for (float truth : row) {
          assertEquals(truth, found[at], 1e-4, "target " + at++);
        }
      }
      assertEquals(at, found.length);
    }
  }

  @ParameterizedTest
  @MethodSource("languageModels")
  void lossAndGradientsAreHuggingFaces(GoldenCase golden) {
    for (Recording recording : List.of(Recording.FULL, Recording.PER_BLOCK)) {
      try (CausalLm model = golden.causalLm(torch, ElementType.FP32);
          TensorScope scope = torch.scope()) {
        Gradients gradients = new Gradients(torch.ops(), scope, model.weights());
        double loss = golden.lossAndGradients(model, recording, gradients);
        assertEquals(golden.tensors().readFloats("loss")[0], loss, 1e-5);
        compareGradients(golden, model.weights(), gradients);
      }
    }
  }

  private static void compareGradients(GoldenCase golden, Weights weights, Gradients gradients) {
    List<Tensor> found = gradients.all();
    try (TensorScope scope = torch.scope()) {
      float[] norms = torch.ops().norms(scope, found);
      for (int i = 0; i < norms.length; i++) {
        ParameterSpec parameter = weights.parameters().get(i);
        double expected = golden.gradientNorm(parameter);
        assertEquals(expected, norms[i], 1e-4 * expected + 1e-6, parameter.name());
        String full = "grad." + parameter.name();
        if (golden.tensors().contains(full)) {
          float[] truth = golden.tensors().readFloats(full);
          assertArrayEquals(truth, found.get(i).toFloats(), 5e-5f, full);
        }
      }
    }
  }

  /** The first so many likeliest tokens. */
  static SamplingConfig greedy(int tokens, boolean ignoreEos) {
    return new SamplingConfig(false, 1, 0, 1, 0, 1, 0, tokens, 0, List.of(), ignoreEos, false);
  }

  @ParameterizedTest
  @MethodSource("languageModels")
  void cachedGreedyDecodingIsHuggingFaces(GoldenCase golden) {
    int eos = golden.facts().path("generation").path("eos_token_id").asInt(-1);
    try (CausalLm model = golden.causalLm(torch, ElementType.FP32)) {
      List<PromptRow> prompts = golden.prompts();
      for (String kind : List.of("greedy_no_eos", "greedy_eos")) {
        boolean ends = kind.equals("greedy_eos");
        int[] eosIds = ends ? new int[] {eos} : new int[0];
        try (Generator generator = new Generator(model, null, greedy(16, !ends), eosIds)) {
          List<List<Response>> found =
              generator.generate(prompts, new Generator.Plan(1, 8, 0, 0), done -> {});
          List<int[]> expected = golden.greedy(kind);
          for (int b = 0; b < prompts.size(); b++) {
            int[] tokens = found.get(b).get(0).tokenIds();
            assertArrayEquals(expected.get(b), tokens, kind + " row " + b);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("rewardModels")
  void scoresLossAndGradientsAreHuggingFaces(GoldenCase golden) {
    for (boolean share : List.of(true, false)) {
      try (RewardModel model = golden.rewardModel(torch, ElementType.FP32);
          TensorScope scope = torch.scope()) {
        float[] alone = model.scores(TokenBatch.ofLastTokens(golden.rows()));
        assertArrayEquals(golden.tensors().readFloats("scores"), alone, 2e-5f);
        Gradients gradients = new Gradients(torch.ops(), scope, model.weights());
        GoldenCase.Pairwise found = golden.pairwise(model, share, gradients);
        assertArrayEquals(golden.pairScores(), found.scores(), 2e-5f);
        assertEquals(golden.tensors().readFloats("loss")[0], found.loss(), 1e-5);
        compareGradients(golden, model.weights(), gradients);
      }
    }
  }
}
