package org.rlhf4j.core.train;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.rlhf4j.core.report.MetricNames;

class MetricsWindowTest {
  private static void add(MetricsWindow window, double ratio, double largest) {
    window.add(
        new Optimization.Update(1, 1e-3),
        ratio,
        1,
        1,
        Map.of(MetricNames.RATIO, ratio, MetricNames.LARGEST_LOG_RATIO, largest));
  }

  @Test
  void aRowHasMeansOverItsStepsButTheLargestOfWhatIsAMaximum() {
    MetricsWindow window = new MetricsWindow();
    add(window, 1, 0.25);
    add(window, 3, 0.75);
    MetricsWindow resumed = new MetricsWindow();
    resumed.restore(window.state());
    add(resumed, 2, 0.5);
    Map<String, Object> row = resumed.take(Map.of());
    assertEquals(2.0, row.get(MetricNames.RATIO));
    assertEquals(2.0, row.get(MetricNames.LOSS));
    assertEquals(0.75, row.get(MetricNames.LARGEST_LOG_RATIO));
  }
}
