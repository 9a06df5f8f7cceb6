package org.rlhf4j.core.train;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.rlhf4j.core.report.MetricNames;

/** Gathers steps until a row of training metrics is due. */
final class MetricsWindow {
  private double lossSum;
  private final Map<String, Double> figureSums = new LinkedHashMap<>();
  private final Map<String, Double> means = new LinkedHashMap<>();
  private final Map<String, Double> squares = new LinkedHashMap<>();
  private long steps;
  private long tokens;
  private TrainingPosition.LastStep last;
  private final LongSupplier nanoTime;
  private long tokensSince;
  private long sinceNanos;
  private boolean isAside;

  /** Begins to wait for steps, by such a clock. */
  MetricsWindow(LongSupplier nanoTime) {
    this.nanoTime = nanoTime;
    this.sinceNanos = nanoTime.getAsLong();
  }

  /** Goes on where a checkpoint stopped. */
  void restore(TrainingPosition.Window window) {
    lossSum = window.lossSum();
    figureSums.putAll(window.figureSums());
    means.putAll(window.means());
    squares.putAll(window.squares());
    steps = window.steps();
    tokens = window.tokens();
    last = window.last();
  }

  /** For a checkpoint. */
  TrainingPosition.Window state() {
    return new TrainingPosition.Window(
        lossSum,
        new LinkedHashMap<>(figureSums),
        new LinkedHashMap<>(means),
        new LinkedHashMap<>(squares),
        steps,
        tokens,
        last);
  }

  /**
   * Takes in a step.
   *
   * @param figures further ones, the same for every step, of which the row has the means, the
   *     {@linkplain MetricNames#isMaximum largest} or the {@linkplain MetricNames#isVariance
   *     variance}
   */
  void add(
      Optimization.Update update,
      double loss,
      long stepTokens,
      double epoch,
      Map<String, ? extends Number> figures) {
    lossSum += loss;
    figures.forEach(
        (name, value) -> {
          double number = value.doubleValue();
          if (MetricNames.isVariance(name)) {
            addToSpread(name, number);
          } else {
            figureSums.merge(name, number, MetricNames.isMaximum(name) ? Math::max : Double::sum);
          }
        });
    steps++;
    tokens += stepTokens;
    tokensSince += stepTokens;
    last = new TrainingPosition.LastStep(epoch, update.gradientNorm(), update.learningRate());
  }

  /**
   * By the mean so far and the sum of squared distances from it (Welford, 1962): ratios differ from
   * 1 in their last digits, which a sum of squares would lose.
   */
  private void addToSpread(String name, double number) {
    double before = means.getOrDefault(name, 0.0);
    double mean = before + (number - before) / (steps + 1);
    means.put(name, mean);
    squares.merge(name, (number - before) * (number - mean), Double::sum);
  }

  /**
   * Runs what is no part of the training: its time is not counted, that of one within another once.
   */
  <T> T aside(Supplier<T> body) {
    if (isAside) {
      return body.get();
    }
    isAside = true;
    long begun = nanoTime.getAsLong();
    try {
      return body.get();
    } finally {
      sinceNanos += nanoTime.getAsLong() - begun;
      isAside = false;
    }
  }

  /** Whether no step waits for a row. */
  boolean isEmpty() {
    return steps == 0;
  }

  /**
   * The row of the steps that wait, of which there is at least one; then none waits.
   *
   * @param more further metrics of the row
   */
  Map<String, Object> take(Map<String, ?> more) {
    Map<String, Object> row = new LinkedHashMap<>();
    row.put(MetricNames.EPOCH, last.epoch());
    row.put(MetricNames.LOSS, lossSum / steps);
    row.put(MetricNames.GRAD_NORM, last.gradientNorm());
    row.put(MetricNames.LEARNING_RATE, last.learningRate());
    figureSums.forEach(
        (name, sum) -> row.put(name, MetricNames.isMaximum(name) ? sum : sum / steps));
    if (steps > 1) {
      squares.forEach((name, sum) -> row.put(name, sum / (steps - 1)));
    }
    row.putAll(more);
    row.put(MetricNames.NUM_TOKENS, tokens);
    row.put(
        MetricNames.TOKENS_PER_SECOND, tokensSince / ((nanoTime.getAsLong() - sinceNanos) / 1e9));
    lossSum = 0;
    figureSums.clear();
    means.clear();
    squares.clear();
    steps = 0;
    tokensSince = 0;
    last = null;
    sinceNanos = nanoTime.getAsLong();
    return row;
  }
}
