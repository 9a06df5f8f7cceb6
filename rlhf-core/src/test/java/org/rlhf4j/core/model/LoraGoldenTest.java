package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.checkpoint.SaveFormat;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * Holds every adapter of the golden files to what PEFT computed: before it, with it, and merged.
 * Tolerances are those of the golden files' README.
 */
class LoraGoldenTest {
  private static final JsonMapper JSON = new JsonMapper();
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

  private static List<GoldenCase> all(ModelHead head) throws IOException {
    List<GoldenCase> found = new ArrayList<>();
    for (Path folder : Shared.folders("golden/models")) {
      if (Files.exists(folder.resolve("adapter_config.json"))) {
        ModelFolder model = ModelFolder.open(folder);
        if (ModelFamilies.of(model).head() == head) {
          found.add(
              new GoldenCase(
                  folder,
                  SafetensorsFile.open(folder.resolve("golden.safetensors")),
                  JSON.readTree(folder.resolve("golden.json").toFile())));
        }
      }
    }
    assertFalse(found.isEmpty());
    return found;
  }

  static Stream<GoldenCase> languageModels() throws IOException {
    return all(ModelHead.CAUSAL_LM).stream();
  }

  static Stream<GoldenCase> rewardModels() throws IOException {
    return all(ModelHead.SEQUENCE_CLASSIFICATION).stream();
  }

  private static ModelLoader.Options used(ElementType type) {
    return new ModelLoader.Options(type, false);
  }

  /** The adapter of the case goes on being trained. */
  private static ModelLoader.Options trained(GoldenCase golden) {
    LoraSpec stored =
        new StoredAdapter(model(golden).adapter().orElseThrow(), ModelFamilies.of(model(golden)))
            .layout()
            .lora();
    List<String> saved = new ArrayList<>(stored.modulesToSave());
    saved.remove("classifier");
    return new ModelLoader.Options(
        ElementType.FP32, true, stored.withModules(stored.targetModules(), saved), 0);
  }

  private static ModelFolder model(GoldenCase golden) {
    return ModelFolder.open(golden.folder());
  }

  private static ModelFolder base(GoldenCase golden) {
    return ModelFolder.open(model(golden).basePath());
  }

  private ModelFolder merged(GoldenCase golden) {
    Path folder = temporary.resolve("merged");
    folder.toFile().mkdir();
    SaveFormat format = new SaveFormat(StoredType.F32, Long.MAX_VALUE);
    ModelWriter.merged(folder, model(golden), format, 0);
    return ModelFolder.open(folder);
  }

  private static void holdLogits(GoldenCase golden, String name, CausalLm model) {
    List<float[]> truth = golden.perRow(name, 0);
    List<float[]> found = GoldenCase.logits(model, golden.rows());
    for (int b = 0; b < truth.size(); b++) {
      assertArrayEquals(truth.get(b), found.get(b), 1e-4f, name + " of row " + b);
    }
  }

  @ParameterizedTest
  @MethodSource("languageModels")
  void logitsAreThoseOfPeft(GoldenCase golden) {
    ModelLoader.Options options = used(ElementType.FP32);
    try (CausalLm before = ModelLoader.causalLm(torch, base(golden), options);
        CausalLm with = ModelLoader.causalLm(torch, model(golden), options);
        CausalLm off = ModelLoader.reference(with, base(golden));
        CausalLm merged = ModelLoader.causalLm(torch, merged(golden), options)) {
      holdLogits(golden, "logits_base", before);
      holdLogits(golden, "logits_adapter", with);
      holdLogits(golden, "logits_base", off);
      holdLogits(golden, "logits_merged", merged);
      holdLogits(golden, "logits_adapter", with);
    }
  }

  @ParameterizedTest
  @MethodSource("languageModels")
  void allWeightsAreTrainedWithTheAdapterMergedIntoThem(GoldenCase golden) {
    ModelLoader.Options options = new ModelLoader.Options(ElementType.FP32, true);
    try (CausalLm model = ModelLoader.causalLm(torch, model(golden), options)) {
      holdLogits(golden, "logits_merged", model);
      assertEquals(base(golden).tensorNames().size(), model.trained().parameters().size());
    }
  }

  @ParameterizedTest
  @MethodSource({"languageModels", "rewardModels"})
  void theMergedWeightIsThatOfPeft(GoldenCase golden) {
    ModelFolder merged = merged(golden);
    int compared = 0;
    for (var tensor : golden.tensors().tensors()) {
      if (tensor.name().startsWith("merged.")) {
        String name = tensor.name().substring("merged.".length());
        assertArrayEquals(
            golden.tensors().readFloats(tensor.name()), merged.readFloats(name), 1e-6f);
        compared++;
      }
    }
    assertEquals(1, compared);
  }

  @ParameterizedTest
  @MethodSource("languageModels")
  void lossAndGradientsAreThoseOfPeft(GoldenCase golden) {
    for (Recording recording : List.of(Recording.FULL, Recording.PER_BLOCK)) {
      try (CausalLm model = ModelLoader.causalLm(torch, model(golden), trained(golden));
          TensorScope scope = torch.scope()) {
        TokenBatch batch = TokenBatch.ofTargets(golden.everyTarget());
        int targets = batch.targets().length;
        float[] derivative = new float[targets];
        Arrays.fill(derivative, -1f / targets);
        Gradients gradients = new Gradients(torch.ops(), scope, model.trained());
        LmHead.Found found =
            model.addGradients(batch, logProbs -> derivative, recording, gradients, false);
        double loss = 0;
        for (float logProb : found.logProbs()) {
          loss -= logProb / (double) targets;
        }
        assertEquals(golden.tensors().readFloats("loss")[0], loss, 1e-5);
        compare(golden, model.trained(), gradients);
      }
    }
  }

  private static void compare(GoldenCase golden, Weights weights, Gradients gradients) {
    List<Tensor> found = gradients.all();
    int compared = 0;
    try (TensorScope scope = torch.scope()) {
      float[] norms = torch.ops().norms(scope, found);
      for (int i = 0; i < norms.length; i++) {
        String name = weights.parameters().get(i).name().replaceAll("(lora_.)", "$1.default");
        name = name.replace("score.weight", "score.modules_to_save.default.weight");
        double expected = golden.facts().path("grad_norms").path(name).asDouble(Double.NaN);
        assertEquals(expected, norms[i], 1e-4 * expected + 1e-6, name);
        if (golden.tensors().contains("grad." + name)) {
          float[] truth = golden.tensors().readFloats("grad." + name);
          assertArrayEquals(truth, found.get(i).toFloats(), 5e-5f, name);
          compared++;
        }
      }
      assertEquals(golden.facts().path("grad_norms").size(), norms.length);
      assertEquals(2, compared);
    }
  }

  @ParameterizedTest
  @MethodSource("rewardModels")
  void scoresAndGradientsAreThoseOfPeft(GoldenCase golden) {
    ModelLoader.Options options = used(ElementType.FP32);
    TokenBatch rows = TokenBatch.ofLastTokens(golden.rows());
    try (RewardModel before = ModelLoader.rewardModel(torch, base(golden), options, 0);
        RewardModel merged = ModelLoader.rewardModel(torch, merged(golden), options, 0);
        RewardModel with = ModelLoader.rewardModel(torch, model(golden), trained(golden), 0);
        TensorScope scope = torch.scope()) {
      hold(golden, "scores_base", before.scores(rows));
      hold(golden, "scores_merged", merged.scores(rows));
      hold(golden, "scores_adapter", with.scores(rows));
      Gradients gradients = new Gradients(torch.ops(), scope, with.trained());
      GoldenCase.Pairwise found = golden.pairwise(with, true, gradients);
      assertEquals(golden.tensors().readFloats("loss")[0], found.loss(), 1e-5);
      compare(golden, with.trained(), gradients);
    }
  }

  private static void hold(GoldenCase golden, String name, float[] scores) {
    assertArrayEquals(golden.tensors().readFloats(name), scores, 2e-5f, name);
  }

  @ParameterizedTest
  @MethodSource("languageModels")
  void bf16IsAsNearAsThatOfPeft(GoldenCase golden) {
    double allowed =
        2 * golden.facts().path("max_abs_diff").path("bf16_adapter_to_fp32_adapter").asDouble();
    try (CausalLm model = ModelLoader.causalLm(torch, model(golden), used(ElementType.BF16))) {
      List<float[]> truth = golden.perRow("logits_adapter", 0);
      List<float[]> found = GoldenCase.logits(model, golden.rows());
      for (int b = 0; b < truth.size(); b++) {
        assertArrayEquals(truth.get(b), found.get(b), (float) allowed);
      }
    }
  }
}
