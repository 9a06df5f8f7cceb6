package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.rlhf4j.ppo.group.GroupRuns.column;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.RewardModel;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.testing.SameRuns;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;

/** What becomes of single keys in whole runs. */
class PpoRunTest {
  @TempDir Path temporary;
  private PpoRuns runs;

  @BeforeEach
  void files() throws IOException {
    runs = new PpoRuns(temporary);
  }

  /** Ziegler et al. (2019), §2.2, once for each roll-out with its own KL and its samples. */
  @Test
  void theWeightOfTheKlFollowsWhatWasMeasured() {
    var fixed = runs.train("fixed", "kl_coef", 0.3);
    assertEquals(List.of(0.3, 0.3), column(fixed, "objective/kl_coef"));
    // The first roll-out is the reference's own, so the second does not depend on the weight.
    double second = column(fixed, "objective/kl").get(1);
    assertTrue(second > 1e-3, "the policy must have moved: " + second);
    for (double error : new double[] {0.1, 5}) {
      var metrics =
          runs.train(
              "adaptive" + error,
              "kl_coef",
              0.3,
              "total_episodes",
              24,
              "adaptive_kl_target",
              second / (1 + error),
              "adaptive_kl_horizon",
              40);
      List<Double> weights = column(metrics, "objective/kl_coef");
      assertEquals(second, column(metrics, "objective/kl").get(1), 1e-9);
      assertEquals(0.3, weights.get(0));
      assertEquals(0.3 * (1 - 0.2 * 8 / 40), weights.get(1), 1e-9);
      assertEquals(weights.get(1) * (1 + Math.min(0.2, error) * 8 / 40), weights.get(2), 1e-9);
    }
  }

  @Test
  void theBestModelIsKept() throws IOException {
    Object[] keys = {"eval_dataset_path", runs.held().toString(), "eval_steps", 1};
    List<Map<String, Object>> metrics =
        runs.train("all", with(keys, "save_steps", 1, "save_total_limit", 0));
    double best = -1;
    int at = -1;
    for (Map<String, Object> row : metrics) {
      if (row.get("eval_objective/scores") instanceof Number score && score.doubleValue() > best) {
        best = score.doubleValue();
        at = ((Number) row.get("step")).intValue();
      }
    }
    assertTrue(at > 0 && at < 8, "neither the start nor the end must be the best: " + at);
    runs.train("best", with(keys, "save_best", true));
    Path checkpoint = runs.output("all").resolve("checkpoint-" + at);
    for (String name : List.of("model.safetensors", PpoNetworks.VALUE_FILE)) {
      SameRuns.assertSameFile(checkpoint, runs.output("best"), name);
    }
  }

  private static Object[] with(Object[] keys, Object... more) {
    return Stream.concat(Arrays.stream(keys), Arrays.stream(more)).toArray();
  }

  /** Values before the first step are the reward model's scores of each beginning of a response. */
  @Test
  void aSeparateValueNetworkStartsAsARewardModel() throws IOException {
    Path start = TinyModel.rewardModel(temporary.resolve("reward"), 5);
    Object[] keys = {
      "value_network",
      "separate",
      "value_model_name_or_path",
      start.toString(),
      "learning_rate",
      0,
      "save_steps",
      1,
      "max_steps",
      1,
      "resume_from_checkpoint",
      "auto"
    };
    runs.train("out", keys);
    Path rows = runs.output("out").resolve("checkpoint-1/rollout.jsonl");
    int compared = 0;
    try (Torch torch = Torch.open("cpu");
        RewardModel model =
            ModelLoader.rewardModel(
                torch,
                ModelFolder.open(start),
                new ModelLoader.Options(ElementType.FP32, false),
                1)) {
      for (Experience sample : ExperienceFile.read(rows)) {
        int[] ids = sample.row().ids();
        for (int t = 0; t < sample.ids().length; t++) {
          int[] beginning = Arrays.copyOf(ids, sample.promptIds().length + t);
          float score = model.scores(TokenBatch.ofLastTokens(List.of(beginning)))[0];
          assertEquals(score, sample.values()[t], 1e-5);
          compared++;
        }
      }
    }
    assertTrue(compared >= 8, "responses must be compared");
    TinyModel.rewardModel(start, 6);
    RlhfException refused = assertThrows(RlhfException.class, () -> runs.train("out", keys));
    assertEquals(ExitCode.CONFIG, refused.exitCode());
    assertTrue(
        refused.getMessage().startsWith("value_model_name_or_path: the weights are not those"),
        refused.getMessage());
  }
}
