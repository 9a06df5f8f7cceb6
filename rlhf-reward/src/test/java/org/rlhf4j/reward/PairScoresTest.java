package org.rlhf4j.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;

class PairScoresTest {

  @Test
  void tiesAreNoSuccessesAndAreCounted() {
    PairScores scores = PairScores.ofAlternating(new float[] {2, 1, 3, 3, 0, 4, 5, 5, 1, -1});
    assertArrayEquals(new float[] {2, 3, 0, 5, 1}, scores.chosen());
    assertArrayEquals(new float[] {1, 3, 4, 5, -1}, scores.rejected());
    Map<String, Object> expected =
        Map.of(
            "accuracy", 0.4,
            "ties", 2L,
            "margin", -0.2,
            "min_reward", -1.0,
            "mean_reward", 2.3,
            "max_reward", 5.0);
    assertEquals(expected, scores.metrics());
  }

  @Test
  void partsAreJoinedInOrder() {
    PairScores joined =
        PairScores.join(
            List.of(
                PairScores.ofAlternating(new float[] {1, 2}),
                PairScores.ofAlternating(new float[] {3, 4, 5, 6})));
    assertArrayEquals(new float[] {1, 3, 5}, joined.chosen());
    assertArrayEquals(new double[] {1, 2, 3, 4, 5, 6}, joined.both());
  }

  @Test
  void statisticsAreWrittenAndReadBack(@TempDir Path folder) throws IOException {
    // Appendix A.4: the unbiased standard deviation of 1, 2, 3, 4 is 1.290994.
    RewardStats stats = RewardStats.of(new double[] {1, 2, 3, 4});
    assertEquals(2.5, stats.mean());
    assertEquals(1.290994, stats.std(), 1e-6);
    assertEquals(4, stats.count());
    assertFalse(RewardStats.existsIn(folder));
    stats.write(folder);
    assertTrue(RewardStats.existsIn(folder));
    assertEquals(stats, RewardStats.read(folder));

    Files.writeString(folder.resolve(RewardStats.FILE_NAME), "{\"mean\": ");
    RlhfException failure = assertThrows(RlhfException.class, () -> RewardStats.read(folder));
    assertEquals(ExitCode.INPUT, failure.exitCode());
    assertTrue(failure.getMessage().contains(RewardStats.FILE_NAME), failure.getMessage());
  }
}
