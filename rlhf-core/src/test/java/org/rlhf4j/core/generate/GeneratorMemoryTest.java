package org.rlhf4j.core.generate;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.testing.NativeMemory;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;

/** Sampling must not grow the process, while caches grow and finished samples leave the batch. */
class GeneratorMemoryTest {
  /** What compiled code may still take. */
  private static final double ALLOWED_MIB = 8;

  @Test
  void twoHundredBatchesKeepTheirNativeMemory(@TempDir Path folder) throws IOException {
    ModelFolder model = ModelFolder.open(TinyModel.causalLm(folder.resolve("model"), 1));
    // One token in sixteen ends a response, so samples of all lengths leave.
    int[] ends = IntStream.range(0, 16).map(i -> 16 * i + 3).toArray();
    SamplingConfig sampling =
        new SamplingConfig(true, 1, 0, 0.95, 0, 1.1, 3, 64, 0, List.of(), false, false);
    Set<Integer> lengths = new HashSet<>();
    try (Torch torch = Torch.open("cpu");
        CausalLm causalLm =
            ModelLoader.causalLm(torch, model, new ModelLoader.Options(ElementType.FP32, false));
        Generator generator = new Generator(causalLm, null, sampling, ends)) {
      NativeMemory.assertStays(
          torch,
          ALLOWED_MIB,
          number -> {
            List<PromptRow> prompts = new ArrayList<>();
            for (int p = 0; p < 4; p++) {
              int[] ids = new int[1 + (number * 7 + p * 11) % 60];
              Arrays.setAll(ids, t -> (t * 31 + number) % 256);
              prompts.add(new PromptRow(p, "", ids));
            }
            generator
                .generate(prompts, new Generator.Plan(4, 16, number, 0), done -> {})
                .forEach(group -> group.forEach(r -> lengths.add(r.tokenIds().length)));
          });
    }
    assertTrue(lengths.size() > 30, "responses of many lengths: " + lengths);
  }
}
