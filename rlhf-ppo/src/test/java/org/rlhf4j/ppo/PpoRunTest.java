package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.rlhf4j.ppo.GroupRuns.column;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

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
}
