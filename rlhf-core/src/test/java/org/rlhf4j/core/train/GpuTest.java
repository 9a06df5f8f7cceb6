package org.rlhf4j.core.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.djl.engine.Engine;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.testing.TinyModel;

/** Where there is a GPU, it computes what the processor computes. */
class GpuTest {
  @Test
  void trainingAndSamplingAreTheProcessors(@TempDir Path folder) throws IOException {
    assumeTrue(Engine.getEngine("PyTorch").getGpuCount() > 0, "PyTorch sees no GPU");
    compare("cuda", TinyModel.causalLm(folder.resolve("model"), 1));
  }

  private static void compare(String device, Path model) {
    TinySteps.Found expected = TinySteps.run("cpu", model, TokenLoss.meanOverTargets());
    TinySteps.Found found = TinySteps.run(device, model, TokenLoss.meanOverTargets());
    assertArrayEquals(expected.losses(), found.losses(), 5e-5);
    assertArrayEquals(expected.gradientNorms(), found.gradientNorms(), 5e-4);
    for (int i = 0; i < expected.weights().size(); i++) {
      assertArrayEquals(expected.weights().get(i), found.weights().get(i), 1e-4f, "weight " + i);
    }
    for (int prompt = 0; prompt < expected.responses().size(); prompt++) {
      for (int sample = 0; sample < 2; sample++) {
        Response mine = expected.responses().get(prompt).get(sample);
        Response its = found.responses().get(prompt).get(sample);
        assertArrayEquals(mine.tokenIds(), its.tokenIds(), "prompt " + prompt);
        assertArrayEquals(mine.logProbs(), its.logProbs(), 1e-3f, "prompt " + prompt);
        assertEquals(mine.finishReason(), its.finishReason());
      }
    }
  }
}
