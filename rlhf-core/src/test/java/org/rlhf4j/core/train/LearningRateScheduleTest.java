package org.rlhf4j.core.train;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.config.LrSchedulerType;

/** Factors of transformers' schedules, by hand or from its published formulas. */
class LearningRateScheduleTest {
  private static double factor(
      LrSchedulerType type, long warmup, long total, double minRate, long step) {
    return new LearningRateSchedule(type, 1, warmup, total, minRate).at(step);
  }

  @ParameterizedTest
  @CsvSource({"0,0", "1,0.333333", "3,1", "50,0.524281", "99,0.000262"})
  void cosineWithWarmup(long step, double expected) {
    assertEquals(expected, factor(LrSchedulerType.COSINE, 3, 100, 0, step), 5e-7);
  }

  @ParameterizedTest
  @CsvSource({"0,0", "1,0.5", "2,1", "3,0.9", "11,0.1", "12,0", "13,0"})
  void linearWithWarmup(long step, double expected) {
    assertEquals(expected, factor(LrSchedulerType.LINEAR, 2, 12, 0, step), 1e-12);
  }

  @ParameterizedTest
  @CsvSource({"0,1", "5,0.55", "10,0.1"})
  void cosineWithMinimum(long step, double expected) {
    assertEquals(expected, factor(LrSchedulerType.COSINE_WITH_MIN_LR, 0, 10, 0.1, step), 1e-12);
  }

  @Test
  void inverseSquareRootCountsFromTheEndOfTheWarmup() {
    assertEquals(0.5, factor(LrSchedulerType.INVERSE_SQRT, 4, 100, 0, 2), 1e-12);
    assertEquals(1, factor(LrSchedulerType.INVERSE_SQRT, 4, 100, 0, 4), 1e-12);
    assertEquals(0.5, factor(LrSchedulerType.INVERSE_SQRT, 4, 100, 0, 16), 1e-12);
    assertEquals(1 / Math.sqrt(1.5), factor(LrSchedulerType.INVERSE_SQRT, 0, 100, 0, 5000), 1e-12);
  }

  @Test
  void constantIgnoresTheWarmupAndItsRelativeDoesNot() {
    assertEquals(1, factor(LrSchedulerType.CONSTANT, 10, 100, 0, 0));
    assertEquals(0.3, factor(LrSchedulerType.CONSTANT_WITH_WARMUP, 10, 100, 0, 3), 1e-12);
    assertEquals(1, factor(LrSchedulerType.CONSTANT_WITH_WARMUP, 10, 100, 0, 99));
  }
}
