package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.rlhf4j.ppo.GroupRuns.column;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.ppo.GroupRuns.Method;

class GroupTrainersTest {
  @TempDir Path temporary;
  private GroupRuns runs;

  @BeforeEach
  void files() throws IOException {
    runs = new GroupRuns(temporary, 32);
  }

  @ParameterizedTest
  @CsvSource({
    "GRPO, 0", "GRPO, 0.01", "RLOO, 0", "RLOO, 0.01", "REINFORCE_PP, 0", "REINFORCE_PP, 0.01"
  })
  void aRewardOfOnesOwnRises(Method method, double beta) {
    List<Map<String, Object>> metrics =
        runs.train(
            method,
            "out",
            "eval_dataset_path",
            runs.held().toString(),
            "rollout_batch_size",
            16,
            "total_episodes",
            16 * 4 * 20,
            "beta",
            beta,
            "max_new_tokens",
            4);
    List<Double> rewards = column(metrics, "reward");
    System.out.println(method+" "+beta+" "+rewards+" "+column(metrics,"objective/kl")+" "+column(metrics,"eval_reward"));
    assertEquals(20, rewards.size());
    assertTrue(rewards.get(19) > rewards.get(0) + 0.2, rewards.toString());
  }
}
