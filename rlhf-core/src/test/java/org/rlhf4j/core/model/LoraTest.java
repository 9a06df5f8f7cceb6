package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SaveFormat;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.config.LrSchedulerType;
import org.rlhf4j.core.data.PackedRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.AdamW;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.LanguageModelStep;
import org.rlhf4j.core.train.LearningRateSchedule;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.core.train.TokenLoss;

/** Adapters on every linear module of every family. */
class LoraTest {
  private static final LoraSpec ALL =
      new LoraSpec(3, 5, 0, List.of(LoraSpec.ALL_LINEAR), false, List.of());
  private static final SaveFormat FORMAT = new SaveFormat(StoredType.F32, Long.MAX_VALUE);
  private static Torch torch;
  @TempDir Path temporary;

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

  private static ModelFolder start(GoldenCase golden) {
    return ModelFolder.open(golden.folder());
  }

  private static ModelLoader.Options trained(LoraSpec lora) {
    return new ModelLoader.Options(ElementType.FP32, true, lora, 7);
  }

  private static ModelLoader.Options used() {
    return new ModelLoader.Options(ElementType.FP32, false);
  }

  private static ModelLoader.Options fully() {
    return new ModelLoader.Options(ElementType.FP32, true);
  }

  /** Gives B values, which starts as zero. */
  private static void shake(Weights weights, float spread) {
    Random random = new Random(5);
    try (TensorScope scope = torch.scope()) {
      for (int i = 0; i < weights.parameters().size(); i++) {
        if (AdapterLayout.isB(weights.parameters().get(i))) {
          float[] values = new float[(int) weights.parameters().get(i).elements()];
          for (int j = 0; j < values.length; j++) {
            values[j] = spread * (float) random.nextGaussian();
          }
          torch.ops().fill(scope, weights.masters().get(i), 0, values);
        }
      }
    }
    weights.followMasters();
  }

  private ModelFolder written(ModelFolder start, CausalLm model) {
    Path folder = temporary.resolve("adapter-" + start.path().getFileName());
    folder.toFile().mkdir();
    ModelWriter.causalLm(folder, start, model, FORMAT);
    return ModelFolder.open(folder);
  }

  private static int linearModules(DecoderSpec spec) {
    boolean apart = spec.attention().projections().layout() == AttentionSpec.Layout.APART;
    int ofBlock = (apart ? 3 : 1) + 1 + (spec.mlp().gate() == MlpSpec.Gate.APART ? 2 : 1) + 1;
    return spec.layers() * ofBlock + (spec.isProjected() ? 2 : 0);
  }

  /** With W' = W + s B A: dA = s B^T dW' and dB = s dW' A^T, by the chain rule. */
  @ParameterizedTest
  @MethodSource("languageModels")
  void gradientsFollowFromThoseOfTheMergedWeight(GoldenCase golden) {
    for (Recording recording : List.of(Recording.FULL, Recording.PER_BLOCK)) {
      try (CausalLm model = ModelLoader.causalLm(torch, start(golden), trained(ALL));
          TensorScope scope = torch.scope()) {
        shake(model.trained(), 0.3f);
        Gradients found = new Gradients(torch.ops(), scope, model.trained());
        double loss = golden.lossAndGradients(model, recording, found);
        ModelFolder adapter = written(start(golden), model);
        try (CausalLm merged = ModelLoader.causalLm(torch, adapter, fully())) {
          Gradients full = new Gradients(torch.ops(), scope, merged.trained());
          assertEquals(golden.lossAndGradients(merged, Recording.FULL, full), loss, 1e-5);
          assertTrue(Math.abs(golden.tensors().readFloats("loss")[0] - loss) > 1e-2);
          holdToChainRule(model, found, full);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("rewardModels")
  void rewardModelsToo(GoldenCase golden) {
    Path folder = temporary.resolve("adapter");
    folder.toFile().mkdir();
    try (RewardModel model = ModelLoader.rewardModel(torch, start(golden), trained(ALL), 0);
        TensorScope scope = torch.scope()) {
      shake(model.trained(), 0.3f);
      Gradients found = new Gradients(torch.ops(), scope, model.trained());
      GoldenCase.Pairwise pairs = golden.pairwise(model, true, found);
      ModelWriter.rewardModel(folder, start(golden), model, FORMAT, 0);
      ModelFolder adapter = ModelFolder.open(folder);
      try (RewardModel merged = ModelLoader.rewardModel(torch, adapter, fully(), 0);
          RewardModel again = ModelLoader.rewardModel(torch, adapter, used(), 0)) {
        Gradients full = new Gradients(torch.ops(), scope, merged.trained());
        assertArrayEquals(
            pairs.scores(), golden.pairwise(merged, true, full).scores(), 2e-5f, "merged");
        TokenBatch rows = TokenBatch.ofLastTokens(golden.rows());
        assertArrayEquals(model.scores(rows), again.scores(rows), 0f, "read again");
        int head = model.trained().parameters().size() - 1;
        assertEquals(
            "base_model.model.score.weight", model.trained().parameters().get(head).name());
        int fullHead = merged.trained().parameters().size() - 1;
        assertArrayEquals(
            full.all().get(fullHead).toFloats(), found.all().get(head).toFloats(), 2e-5f);
        hold(model.adapter(), found.all(), full.all());
      }
    }
  }

  private static void holdToChainRule(CausalLm model, Gradients found, Gradients full) {
    assertEquals(linearModules(model.decoder().spec()), model.adapter().modules());
    hold(model.adapter(), found.all(), full.all());
  }

  private static void hold(Adapter adapter, List<Tensor> found, List<Tensor> full) {
    AdapterLayout layout = adapter.layout();
    boolean transposed = layout.model().spec().transposed();
    double scale = layout.lora().scale();
    int held = 0;
    for (int weight = 0; weight < layout.base().size(); weight++) {
      AdapterLayout.Target target = layout.target(weight);
      if (target == null) {
        continue;
      }
      float[] a = adapter.weights().get(target.a()).toFloats();
      float[] b = adapter.weights().get(target.b()).toFloats();
      float[] d = full.get(weight).toFloats();
      int rank = layout.lora().rank();
      int in = a.length / rank;
      int out = b.length / rank;
      float[] ofA = new float[a.length];
      float[] ofB = new float[b.length];
      for (int o = 0; o < out; o++) {
        for (int i = 0; i < in; i++) {
          double slope = scale * (transposed ? d[i * out + o] : d[o * in + i]);
          for (int r = 0; r < rank; r++) {
            ofA[r * in + i] += (float) (slope * b[o * rank + r]);
            ofB[o * rank + r] += (float) (slope * a[r * in + i]);
          }
        }
      }
      String name = layout.base().get(weight).name();
      assertArrayEquals(ofA, found.get(target.a()).toFloats(), 1e-4f, "A of " + name);
      assertArrayEquals(ofB, found.get(target.b()).toFloats(), 1e-4f, "B of " + name);
      held++;
    }
    assertEquals(adapter.modules(), held);
  }

  private static final AdamW.Settings ADAM = new AdamW.Settings(0.9, 0.999, 1e-8, 0.1);

  private static void steps(CausalLm model, List<TokenRow> rows, int count) {
    LearningRateSchedule schedule =
        new LearningRateSchedule(LrSchedulerType.CONSTANT, 1e-2, 0, count, 0);
    try (Optimization optimization = new Optimization(torch, model.trained(), ADAM, schedule, 1)) {
      LanguageModelStep step =
          new LanguageModelStep(model, optimization, TokenLoss.meanOverTargets(), false);
      List<PackedRow> packed = rows.stream().map(row -> new PackedRow(List.of(row))).toList();
      for (int i = 0; i < count; i++) {
        step.run(List.of(packed));
      }
    }
  }

  private static List<float[]> values(Weights weights) {
    return weights.all().stream().map(Tensor::toFloats).toList();
  }

  /** Training changes the adapter alone; merged it is the same model, in cached decoding too. */
  @ParameterizedTest
  @MethodSource("languageModels")
  void afterSomeStepsTheMergedModelIsTheUnmergedOne(GoldenCase golden) {
    try (CausalLm model = ModelLoader.causalLm(torch, start(golden), trained(ALL));
        CausalLm off = ModelLoader.reference(model, start(golden))) {
      List<int[]> rows = golden.rows();
      List<float[]> before = GoldenCase.logits(model, rows);
      List<float[]> start = values(model.weights());
      double loss = loss(model, golden);
      steps(model, golden.everyTarget(), 4);
      assertTrue(loss(model, golden) < loss - 0.02, golden + ": " + loss);
      assertSame(start, values(model.weights()), 0f);
      assertSame(before, GoldenCase.logits(off, rows), 0f);
      ModelFolder adapter = written(start(golden), model);
      Path folder = temporary.resolve("merged");
      folder.toFile().mkdir();
      ModelWriter.merged(folder, adapter, FORMAT, 0);
      try (CausalLm merged = ModelLoader.causalLm(torch, ModelFolder.open(folder), used());
          CausalLm again = ModelLoader.causalLm(torch, adapter, used())) {
        List<float[]> found = GoldenCase.logits(model, rows);
        assertSame(GoldenCase.logits(merged, rows), found, 1e-4f);
        assertSame(GoldenCase.logits(again, rows), found, 0f);
        List<List<Response>> unmerged = greedy(model, golden);
        for (int i = 0; i < unmerged.size(); i++) {
          assertArrayEquals(
              greedy(merged, golden).get(i).get(0).tokenIds(), unmerged.get(i).get(0).tokenIds());
        }
      }
    }
  }

  private static double loss(CausalLm model, GoldenCase golden) {
    float[] found = model.logProbs(TokenBatch.ofTargets(golden.everyTarget()), false).logProbs();
    double sum = 0;
    for (float logProb : found) {
      sum -= logProb / (double) found.length;
    }
    return sum;
  }

  private static List<List<Response>> greedy(CausalLm model, GoldenCase golden) {
    try (Generator generator =
        new Generator(model, null, GoldenModelsTest.greedy(8, true), new int[0])) {
      return generator.generate(golden.prompts(), new Generator.Plan(1, 3, 0, 0), done -> {});
    }
  }

  private static void assertSame(List<float[]> expected, List<float[]> found, float tolerance) {
    assertEquals(expected.size(), found.size());
    for (int i = 0; i < expected.size(); i++) {
      assertArrayEquals(expected.get(i), found.get(i), tolerance);
    }
  }

  private ModelFolder tiny() throws IOException {
    Path folder = temporary.resolve("tiny");
    return ModelFolder.open(Files.exists(folder) ? folder : TinyModel.causalLm(folder, 1));
  }

  private static TokenBatch batch() {
    int[] ids = new Random(3).ints(40, 0, 250).toArray();
    return TokenBatch.ofTargets(List.of(TokenRow.allTargets(ids)));
  }

  @Test
  void adaptersStartAsPeftDrawsThem() throws IOException {
    try (CausalLm model = ModelLoader.causalLm(torch, tiny(), trained(ALL))) {
      Weights weights = model.trained();
      double square = 0;
      double largest = 0;
      long count = 0;
      for (int i = 0; i < weights.parameters().size(); i++) {
        ParameterSpec parameter = weights.parameters().get(i);
        assertTrue(parameter.weightDecay());
        for (float value : weights.get(i).toFloats()) {
          if (AdapterLayout.isB(parameter)) {
            assertEquals(0f, value);
          } else {
            double unit = value * Math.sqrt(parameter.shape()[1]);
            square += unit * unit;
            largest = Math.max(largest, Math.abs(unit));
            count++;
          }
        }
      }
      assertEquals(1.0 / 3, square / count, 0.03, "variance of a uniform number in [-1, 1)");
      assertTrue(largest <= 1 && largest > 0.98);
    }
  }

  private static List<float[]> gradients(CausalLm model, long step, Recording recording) {
    try (TensorScope scope = torch.scope()) {
      Gradients gradients = new Gradients(torch.ops(), scope, model.trained());
      float[] ones = new float[batch().targets().length];
      Arrays.fill(ones, -1);
      model.startStep(step);
      model.addGradients(batch(), logProbs -> ones, recording, gradients, false);
      return gradients.all().stream().map(Tensor::toFloats).toList();
    }
  }

  @Test
  void whatIsDroppedOutIsAFunctionOfTheStep() throws IOException {
    LoraSpec dropping = new LoraSpec(3, 5, 0.2, List.of("all-linear"), false, List.of());
    for (int seed : new int[] {7, 8}) {
      ModelLoader.Options options = new ModelLoader.Options(ElementType.FP32, true, dropping, seed);
      try (CausalLm model = ModelLoader.causalLm(torch, tiny(), options)) {
        shake(model.trained(), 0.1f);
        List<float[]> first = gradients(model, 4, Recording.FULL);
        List<float[]> other = gradients(model, 5, Recording.FULL);
        assertSame(first, gradients(model, 4, Recording.FULL), 0f);
        assertSame(first, gradients(model, 4, Recording.PER_BLOCK), 1e-4f);
        assertFalse(Arrays.equals(first.get(0), other.get(0)));
        float[] used = model.logProbs(batch(), false).logProbs();
        assertArrayEquals(used, model.logProbs(batch(), false).logProbs(), 0f, "no dropout in use");
      }
    }
  }

  /** For small B the effect of adapters is linear in them, so its mean is that without dropout. */
  @Test
  void dropoutLeavesTheMeanAsItIs() throws IOException {
    LoraSpec dropping = new LoraSpec(3, 5, 0.25, List.of("all-linear"), false, List.of());
    try (CausalLm model = ModelLoader.causalLm(torch, tiny(), trained(dropping));
        CausalLm off = ModelLoader.reference(model, tiny())) {
      shake(model.trained(), 1e-3f);
      float[] without = hidden(off, Recording.NONE);
      float[] with = hidden(model, Recording.NONE);
      float[] dropped = new float[with.length];
      int draws = 400;
      for (int i = 0; i < draws; i++) {
        float[] one = hidden(model, Recording.FULL);
        for (int j = 0; j < one.length; j++) {
          dropped[j] += one[j] / draws;
        }
      }
      double along = 0;
      double length = 0;
      for (int i = 0; i < with.length; i++) {
        along += (double) (dropped[i] - without[i]) * (with[i] - without[i]);
        length += (double) (with[i] - without[i]) * (with[i] - without[i]);
      }
      assertEquals(1, along / length, 0.03);
    }
  }

  private static float[] hidden(CausalLm model, Recording recording) {
    try (TensorScope scope = torch.scope()) {
      return model.decoder().forward(scope, batch(), recording).hidden().toFloats();
    }
  }

  @Test
  void copiesOfWholeModulesAreTrainedInThePlaceOfTheirOriginals() throws IOException {
    LoraSpec spec =
        new LoraSpec(2, 4, 0, List.of("o_proj"), false, List.of("norm", "gate_proj", "up_proj"));
    try (CausalLm model = ModelLoader.causalLm(torch, tiny(), trained(spec));
        CausalLm full = ModelLoader.causalLm(torch, tiny(), fully());
        TensorScope scope = torch.scope()) {
      List<String> names = model.trained().parameters().stream().map(ParameterSpec::name).toList();
      assertEquals(2 * 2 + 2 * 2 + 1, names.size(), names.toString());
      List<float[]> found = gradients(model, 0, Recording.FULL);
      List<float[]> expected = gradients(full, 0, Recording.FULL);
      for (int i = 4; i < names.size(); i++) {
        String name = AdapterLayout.original(model.trained().parameters().get(i));
        int place =
            full.weights().parameters().stream().map(ParameterSpec::name).toList().indexOf(name);
        assertArrayEquals(expected.get(place), found.get(i), 1e-4f, name);
        float[] moved = model.trained().get(i).toFloats();
        for (int j = 0; j < moved.length; j++) {
          moved[j] += 0.05f * (j % 3);
        }
        torch.ops().fill(scope, model.trained().masters().get(i), 0, moved);
        torch.ops().fill(scope, full.trained().masters().get(place), 0, moved);
      }
      List<int[]> rows = List.of(new int[] {1, 2, 3, 200, 100});
      List<float[]> logits = GoldenCase.logits(model, rows);
      assertSame(GoldenCase.logits(full, rows), logits, 1e-5f);
      ModelFolder adapter = written(tiny(), model);
      List<ModelLoader.Options> ways = new ArrayList<>(List.of(used(), fully(), trained(spec)));
      for (ModelLoader.Options way : ways) {
        try (CausalLm again = ModelLoader.causalLm(torch, adapter, way)) {
          assertSame(logits, GoldenCase.logits(again, rows), 1e-5f);
        }
      }
    }
  }

  @Test
  void theReferenceOfAnAdapterThatGoesOnIsTheAdapterItStartedFrom() throws IOException {
    List<int[]> rows = List.of(new int[] {1, 2, 3, 200, 100});
    ModelFolder adapter;
    try (CausalLm model = ModelLoader.causalLm(torch, tiny(), trained(ALL))) {
      shake(model.trained(), 0.3f);
      adapter = written(tiny(), model);
    }
    try (CausalLm model = ModelLoader.causalLm(torch, adapter, trained(ALL));
        CausalLm start = ModelLoader.reference(model, adapter)) {
      List<float[]> before = GoldenCase.logits(model, rows);
      steps(model, List.of(TokenRow.allTargets(rows.get(0))), 2);
      assertFalse(Arrays.equals(before.get(0), GoldenCase.logits(model, rows).get(0)));
      assertSame(before, GoldenCase.logits(start, rows), 0f);
    }
  }
}
