package org.rlhf4j.reward;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.LrSchedulerType;
import org.rlhf4j.core.data.TokenPair;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.RewardModel;
import org.rlhf4j.core.testing.NativeMemory;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.AdamW;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.LearningRateSchedule;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.core.train.StopSignal;

/** Steps on pairs must not grow the process, with one pass and with recomputed blocks. */
class PairStepMemoryTest {
  /** What compiled code may still take. */
  private static final double ALLOWED_MIB = 8;

  @Test
  void twoHundredStepsKeepTheirNativeMemory(@TempDir Path folder) throws IOException {
    ModelFolder start = ModelFolder.open(TinyModel.rewardModel(folder.resolve("model"), 1));
    try (Torch torch = Torch.open("cpu");
        RewardModel model =
            ModelLoader.rewardModel(
                torch, start, new ModelLoader.Options(ElementType.BF16, true), 0);
        Optimization optimization =
            new Optimization(
                torch,
                model.weights(),
                new AdamW.Settings(0.9, 0.999, 1e-8, 0),
                new LearningRateSchedule(LrSchedulerType.CONSTANT, 1e-4, 0, 200, 0),
                1)) {
      PairLoss loss = RewardLoss.meanOverPairs(0.01);
      PairStep plain = new PairStep(model, optimization, loss, false);
      PairStep checkpointing = new PairStep(model, optimization, loss, true);
      NativeMemory.assertStays(
          torch,
          ALLOWED_MIB,
          number -> {
            PairStep step = number % 2 == 0 ? plain : checkpointing;
            step.run(List.of(pairs(number), pairs(number + 1)));
            step.evaluate(pairs(number + 2), 4, new StopSignal());
          });
    }
  }

  /** Pairs of changing lengths that begin alike. */
  private static List<TokenPair> pairs(int number) {
    List<TokenPair> pairs = new ArrayList<>();
    for (int p = 0; p < 4; p++) {
      pairs.add(new TokenPair(row(number + 5 * p, 'a'), row(number + 3 * p, 'b'), 0));
    }
    return pairs;
  }

  private static TokenRow row(int number, int last) {
    int[] ids = new int[20 + number * 7 % 70];
    Arrays.setAll(ids, t -> t < 15 ? 32 + t : 33 + (t * 13 + number) % 90);
    ids[ids.length - 1] = last;
    return TokenRow.allTargets(ids);
  }
}
