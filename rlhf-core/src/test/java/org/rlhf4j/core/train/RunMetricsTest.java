package org.rlhf4j.core.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.config.ReportTo;
import org.rlhf4j.core.report.MetricNames;

class RunMetricsTest {
  @TempDir Path folder;

  private RunMetrics open(TrainingPosition resumed) {
    return RunMetrics.open(folder, resumed, ReportTo.NONE, row -> {}, System.nanoTime());
  }

  /** Episodes per second times seconds. */
  private static double episodes(Map<String, Object> row) {
    return (Double) row.get(MetricNames.EPISODES_PER_SECOND)
        * (Double) row.get(MetricNames.ELAPSED_S);
  }

  @Test
  void episodesPerSecondAreThoseSinceTheStartOrTheResume() {
    TrainingPosition.Window window =
        new TrainingPosition.Window(0, Map.of(), Map.of(), Map.of(), 0, 0, null);
    TrainingPosition position =
        new TrainingPosition("ppo", 1, 0, "", "", window, null, null, false, 2, Map.of());
    try (RunMetrics metrics = open(null)) {
      metrics.write(0, Map.of(MetricNames.EPISODE, 8));
      metrics.write(1, Map.of(MetricNames.EPISODE, 16L));
      assertEquals(8, episodes(metrics.rows().get(0)), 1e-9);
      assertEquals(16, episodes(metrics.rows().get(1)), 1e-9);
    }
    try (RunMetrics metrics = open(position)) {
      metrics.write(2, Map.of(MetricNames.EPISODE, 40L));
      metrics.write(2, Map.of(MetricNames.LOSS, 1));
      assertEquals(24, episodes(metrics.rows().get(2)), 1e-9);
      assertFalse(metrics.rows().get(3).containsKey(MetricNames.EPISODES_PER_SECOND));
    }
  }
}
