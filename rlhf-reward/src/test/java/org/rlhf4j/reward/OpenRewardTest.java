package org.rlhf4j.reward;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.TrainingRun;

class OpenRewardTest {
  @TempDir Path temporary;

  private static void assertTolerance(
      double exact, double coarse, TrainingRun run, String name, RewardFunction function) {
    RewardSourceConfig source = new RewardSourceConfig(name, 600);
    try (OpenReward reward = OpenReward.open(run, source, function, 4)) {
      assertEquals(exact, reward.tolerance(ElementType.FP32), name);
      assertEquals(coarse, reward.tolerance(ElementType.BF16), name);
    }
  }

  @Test
  void onlyAFolderComputesInTheTypeOfTheRun() throws IOException {
    Path rows =
        Files.writeString(
            temporary.resolve("rows.jsonl"), "{\"chosen\": \"a\", \"rejected\": \"b\"}\n");
    RewardConfig config =
        Config.of(RewardConfig.class)
            .set("model_name_or_path", TinyModel.causalLm(temporary.resolve("model"), 1).toString())
            .set("dataset_path", rows.toString())
            .set("output_dir", temporary.resolve("out").toString())
            .set("dtype", "fp32")
            .build();
    Path folder = TinyModel.rewardModel(temporary.resolve("reward"), 3);
    try (TrainingRun run =
        TrainingRun.open("reward", config, config.training(), RunContext.silent())) {
      assertTolerance(1e-4, 5e-2, run, folder.toString(), null);
      assertTolerance(5e-2, 5e-2, run, "http://127.0.0.1:9", null);
      assertTolerance(1e-4, 1e-4, run, null, completions -> new double[completions.size()]);
    }
  }
}
