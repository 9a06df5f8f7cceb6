package org.rlhf4j.core.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.rlhf4j.core.report.MetricNames;

class MetricsWindowTest {
  private long nanos;

  private static void addOfVariance(MetricsWindow window, double ratio) {
    window.add(new Optimization.Update(1, 1e-3), 0, 1, 1, Map.of("val/ratio_var", ratio));
  }

  /** Of 1, 3 and 2: ((1 - 2)² + (3 - 2)² + (2 - 2)²) / (3 - 1). */
  @Test
  void aRowHasTheVarianceOverItsStepsOfWhatIsOne() {
    MetricsWindow window = new MetricsWindow(() -> nanos);
    addOfVariance(window, 1);
    addOfVariance(window, 3);
    MetricsWindow resumed = new MetricsWindow(() -> nanos);
    resumed.restore(window.state());
    addOfVariance(resumed, 2);
    assertEquals(1.0, resumed.take(Map.of()).get("val/ratio_var"));
    addOfVariance(resumed, 2);
    assertFalse(resumed.take(Map.of()).containsKey("val/ratio_var"));
    addOfVariance(resumed, 1.5);
    addOfVariance(resumed, 1.5);
    assertEquals(0.0, resumed.take(Map.of()).get("val/ratio_var"));
  }

  /** A spread that is far below the ratio's own digits: of 1 + 1e-8 times 1, 3 and 2. */
  @Test
  void aVarianceOfRatiosNearOneKeepsItsDigits() {
    MetricsWindow window = new MetricsWindow(() -> nanos);
    addOfVariance(window, 1 + 1e-8);
    addOfVariance(window, 1 + 3e-8);
    addOfVariance(window, 1 + 2e-8);
    double found = (Double) window.take(Map.of()).get("val/ratio_var");
    assertEquals(1e-16, found, 1e-22);
  }

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
    MetricsWindow window = new MetricsWindow(() -> nanos);
    add(window, 1, 0.25);
    add(window, 3, 0.75);
    MetricsWindow resumed = new MetricsWindow(() -> nanos);
    resumed.restore(window.state());
    add(resumed, 2, 0.5);
    Map<String, Object> row = resumed.take(Map.of());
    assertEquals(2.0, row.get(MetricNames.RATIO));
    assertEquals(2.0, row.get(MetricNames.LOSS));
    assertEquals(0.75, row.get(MetricNames.LARGEST_LOG_RATIO));
  }

  /** Two tokens in two steps of a second each, with an evaluation of 8 s between them. */
  @Test
  void whatIsDoneAsideTakesNoTimeOfTheTokens() {
    MetricsWindow window = new MetricsWindow(() -> nanos);
    nanos += 1_000_000_000;
    add(window, 1, 0);
    window.aside(() -> window.aside(() -> nanos += 5_000_000_000L));
    assertThrows(
        IllegalStateException.class,
        () ->
            window.aside(
                () -> {
                  nanos += 3_000_000_000L;
                  throw new IllegalStateException();
                }));
    nanos += 1_000_000_000;
    add(window, 1, 0);
    assertEquals(1.0, window.take(Map.of()).get(MetricNames.TOKENS_PER_SECOND));
  }
}
