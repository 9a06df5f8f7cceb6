package org.rlhf4j.core.train;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.config.ReportTo;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.MetricsLog;
import org.rlhf4j.core.report.SystemStats;
import org.rlhf4j.core.report.TensorBoardLog;

/** The rows of metrics of a run: gathered, written, and told to all who want to know. */
final class RunMetrics implements AutoCloseable {
  private final MetricsLog log;
  private final TensorBoardLog tensorBoard;
  private final RunContext.MetricsListener listener;
  private final MetricsWindow window = new MetricsWindow(System::nanoTime);
  private final Map<String, Object> firstRow = new LinkedHashMap<>();
  private final long startedNanos;
  private final long earlierEpisodes;

  private RunMetrics(
      MetricsLog log,
      TensorBoardLog tensorBoard,
      RunContext.MetricsListener listener,
      long startedNanos) {
    this.startedNanos = startedNanos;
    this.log = log;
    this.earlierEpisodes = log.rows().stream().mapToLong(RunMetrics::episode).max().orElse(0);
    this.tensorBoard = tensorBoard;
    this.listener = listener;
  }

  /**
   * Opens the file, and cuts it back to a checkpoint.
   *
   * @param resumed the checkpoint's position; null for a new run
   * @param startedNanos when the run began, by {@link System#nanoTime}
   */
  static RunMetrics open(
      Path outputDir,
      TrainingPosition resumed,
      ReportTo reportTo,
      RunContext.MetricsListener listener,
      long startedNanos) {
    long step = resumed == null ? 0 : resumed.step();
    MetricsLog log =
        MetricsLog.resume(
            outputDir.resolve(MetricsLog.FILE_NAME),
            step,
            resumed == null ? 0 : resumed.metricRows());
    TensorBoardLog tensorBoard =
        reportTo == ReportTo.TENSORBOARD
            ? TensorBoardLog.open(outputDir.resolve(TensorBoardLog.FOLDER), step + 1)
            : null;
    RunMetrics metrics = new RunMetrics(log, tensorBoard, listener, startedNanos);
    if (resumed != null) {
      metrics.window.restore(resumed.window());
    }
    return metrics;
  }

  /** Adds these to the first training row of the run. */
  void addToFirstRow(Map<String, Object> figures) {
    firstRow.putAll(figures);
  }

  /** The steps that wait for a training row. */
  MetricsWindow window() {
    return window;
  }

  /** Writes the training row of the steps that wait, of which there is at least one. */
  void writeWindow(long step) {
    boolean first = log.rows().stream().noneMatch(before -> before.containsKey(MetricNames.LOSS));
    write(step, window.take(first ? firstRow : Map.of()));
  }

  /** Writes a row; the clock and the memory are added. */
  void write(long step, Map<String, ?> values) {
    Map<String, Object> row = new LinkedHashMap<>();
    row.put(MetricNames.STEP, step);
    row.putAll(values);
    double elapsed = (System.nanoTime() - startedNanos) / 1e9;
    row.put(MetricNames.ELAPSED_S, elapsed);
    if (values.containsKey(MetricNames.EPISODE)) {
      row.put(MetricNames.EPISODES_PER_SECOND, (episode(values) - earlierEpisodes) / elapsed);
    }
    row.putAll(SystemStats.now().metrics());
    log.append(row);
    if (tensorBoard != null) {
      tensorBoard.append(row);
    }
    listener.metrics(row);
  }

  private static long episode(Map<String, ?> row) {
    return row.get(MetricNames.EPISODE) instanceof Number episodes ? episodes.longValue() : 0;
  }

  /** All rows so far. */
  List<Map<String, Object>> rows() {
    return log.rows();
  }

  /** All rows so far, without wall-clock fields. */
  List<Map<String, Object>> history() {
    return log.logHistory();
  }

  /** Forces all rows onto the disk. */
  void sync() {
    log.sync();
  }

  @Override
  public void close() {
    if (tensorBoard != null) {
      tensorBoard.close();
    }
    log.close();
  }
}
