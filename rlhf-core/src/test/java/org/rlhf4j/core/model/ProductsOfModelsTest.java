package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.generate.SamplingConfig;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.testing.TinyFamilies;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Products;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * Whole models, wide enough that oneDNN computes their products where it is chosen, beside the
 * plain products that the golden files are held to: their models are too narrow for it.
 */
class ProductsOfModelsTest {
  private static final LoraSpec LORA =
      new LoraSpec(4, 8, 0, List.of(LoraSpec.ALL_LINEAR), false, List.of());

  private static Path write(Path folder, String family) throws IOException {
    Files.createDirectories(folder);
    ObjectNode config = TinyFamilies.config(family);
    if (family.equals("gpt2")) {
      config.put("n_embd", 256).put("n_head", 4).put("n_positions", 512);
    } else {
      config.put("hidden_size", 256).put("intermediate_size", 512).put("head_dim", 64);
      config.put("num_attention_heads", 4).put("num_key_value_heads", 2);
      config.put("max_position_embeddings", 512);
    }
    Path file = folder.resolve("config.json");
    Files.writeString(file, config.toString());
    Random random = new Random(3);
    List<TensorSource> tensors = new ArrayList<>();
    for (ParameterSpec parameter : ModelFamilies.of(config, file).parameters()) {
      float mean = parameter.name().matches(".*(norm|ln_.).*weight") ? 1 : 0;
      float[] values = new float[Math.toIntExact(parameter.elements())];
      for (int i = 0; i < values.length; i++) {
        values[i] = mean + 0.06f * (float) random.nextGaussian();
      }
      tensors.add(TensorSource.floats(parameter.name(), StoredType.F32, parameter.shape(), values));
    }
    SafetensorsWriter.writeModel(folder, tensors);
    return folder;
  }

  /**
   * What a model computes.
   *
   * @param gradients of each trained weight
   */
  private record Computed(
      float[] logProbs, List<float[]> gradients, List<Response> greedy, List<Response> drawn) {}

  private static Computed compute(Path folder, Products products, LoraSpec lora) {
    Random random = new Random(4);
    List<TokenRow> rows = new ArrayList<>();
    for (int length : new int[] {150, 260, 211}) {
      rows.add(TokenRow.allTargets(random.ints(length, 0, 250).toArray()));
    }
    List<PromptRow> prompts =
        List.of(
            new PromptRow(0, "", random.ints(70, 0, 250).toArray()),
            new PromptRow(1, "", random.ints(9, 0, 250).toArray()));
    try (Torch torch = Torch.open("cpu", products);
        CausalLm model =
            ModelLoader.causalLm(
                torch,
                ModelFolder.open(folder),
                new ModelLoader.Options(ElementType.FP32, true, lora, 5));
        TensorScope scope = torch.scope()) {
      if (lora != null) {
        // B is zero to begin with, and nothing would reach A.
        for (Tensor weight : model.trained().all()) {
          float[] values = new float[Math.toIntExact(weight.size())];
          for (int i = 0; i < values.length; i++) {
            values[i] = 0.05f * (float) random.nextGaussian();
          }
          torch.ops().fill(scope, weight, 0, values);
        }
      }
      TokenBatch batch = TokenBatch.ofTargets(rows);
      float[] logProbs = model.logProbs(batch, false).logProbs();
      float[] ofLogProbs = new float[logProbs.length];
      for (int t = 0; t < ofLogProbs.length; t++) {
        ofLogProbs[t] = (t % 7 - 3) / 100f;
      }
      Gradients gradients = new Gradients(torch.ops(), scope, model.trained());
      model.addGradients(batch, logP -> ofLogProbs, Recording.FULL, gradients, false);
      List<float[]> found = new ArrayList<>();
      for (Tensor gradient : gradients.all()) {
        found.add(torch.ops().part(scope, gradient, 0, Math.toIntExact(gradient.size())));
      }
      return new Computed(
          logProbs, found, respond(model, prompts, false), respond(model, prompts, true));
    }
  }

  private static List<Response> respond(CausalLm model, List<PromptRow> prompts, boolean draws) {
    SamplingConfig sampling =
        new SamplingConfig(draws, 1, 0, 1, 0, 1, 0, 12, 0, List.of(), true, false);
    try (Generator generator = new Generator(model, null, sampling, new int[] {255})) {
      return generator.generate(prompts, new Generator.Plan(3, 16, 1, 0), done -> {}).stream()
          .flatMap(List::stream)
          .toList();
    }
  }

  @ParameterizedTest
  @CsvSource({"llama, false", "llama, true", "gpt2, false"})
  void modelsComputeTheSameWithBothKindsOfProducts(
      String family, boolean adapted, @TempDir Path temporary) throws IOException {
    Path folder = write(temporary.resolve("model"), family);
    LoraSpec lora = adapted ? LORA : null;
    Computed plain = compute(folder, Products.PLAIN, lora);
    Computed oneDnn = compute(folder, Products.ONEDNN, lora);
    assertArrayEquals(plain.logProbs(), oneDnn.logProbs(), 1e-4f);
    assertTrue(
        !Arrays.equals(plain.logProbs(), oneDnn.logProbs()), "other sums have other last bits");
    for (int i = 0; i < plain.gradients().size(); i++) {
      float[] expected = plain.gradients().get(i);
      double norm = 0;
      double distance = 0;
      for (int j = 0; j < expected.length; j++) {
        norm = Math.hypot(norm, expected[j]);
        distance = Math.hypot(distance, expected[j] - oneDnn.gradients().get(i)[j]);
      }
      assertTrue(norm > 0 && distance < 1e-4 * norm, i + ": " + distance + " of " + norm);
    }
    same(plain.greedy(), oneDnn.greedy());
    same(plain.drawn(), oneDnn.drawn());
  }

  private static void same(List<Response> expected, List<Response> found) {
    for (int i = 0; i < expected.size(); i++) {
      assertEquals(
          Arrays.toString(expected.get(i).tokenIds()), Arrays.toString(found.get(i).tokenIds()));
      assertArrayEquals(expected.get(i).logProbs(), found.get(i).logProbs(), 1e-4f);
    }
  }
}
