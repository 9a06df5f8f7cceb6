package org.rlhf4j.core.train;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.LrSchedulerType;
import org.rlhf4j.core.data.PackedRow;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.generate.SamplingConfig;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.torch.AdamW;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.Torch;

/** Three optimizer steps of a small language model in fp32 on some device, and samples of it. */
final class TinySteps {
  private TinySteps() {}

  /**
   * What came out.
   *
   * @param losses of each step
   * @param gradientNorms of each step
   * @param weights after the last step
   * @param responses to three prompts, two each, after the last step
   */
  record Found(
      double[] losses,
      double[] gradientNorms,
      List<float[]> weights,
      List<List<Response>> responses) {}

  static Found run(String device, Path folder, TokenLoss loss) {
    try (Torch torch = Torch.open(device);
        CausalLm model =
            ModelLoader.causalLm(
                torch, ModelFolder.open(folder), new ModelLoader.Options(ElementType.FP32, true));
        Optimization optimization =
            new Optimization(
                torch,
                model.weights(),
                new AdamW.Settings(0.9, 0.95, 1e-8, 0.1),
                new LearningRateSchedule(LrSchedulerType.CONSTANT, 1e-3, 0, 3, 0),
                1)) {
      LanguageModelStep step = new LanguageModelStep(model, optimization, loss, false);
      double[] losses = new double[3];
      double[] norms = new double[3];
      for (int i = 0; i < 3; i++) {
        LanguageModelStep.Outcome outcome =
            step.run(List.of(List.of(row(i, 9), row(i, 30)), List.of(row(i + 7, 17))));
        losses[i] = outcome.loss();
        norms[i] = outcome.update().gradientNorm();
      }
      List<float[]> weights = model.weights().masters().stream().map(Tensor::toFloats).toList();
      return new Found(losses, norms, weights, samples(model));
    }
  }

  private static List<List<Response>> samples(CausalLm model) {
    List<PromptRow> prompts = new ArrayList<>();
    for (int length : new int[] {3, 12, 40}) {
      prompts.add(new PromptRow(prompts.size(), "", ids(length, length)));
    }
    SamplingConfig sampling =
        new SamplingConfig(true, 0.8, 20, 0.9, 0, 1.1, 0, 24, 0, List.of(), false, false);
    try (Generator generator = new Generator(model, null, sampling, new int[] {5, 50})) {
      return generator.generate(prompts, new Generator.Plan(2, 8, 3, 0), done -> {});
    }
  }

  private static PackedRow row(int number, int length) {
    return new PackedRow(List.of(TokenRow.allTargets(ids(number, length))));
  }

  private static int[] ids(int number, int length) {
    int[] ids = new int[length];
    Arrays.setAll(ids, t -> (t * 37 + number * 11) % 250);
    return ids;
  }
}
