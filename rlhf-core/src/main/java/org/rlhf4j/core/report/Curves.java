package org.rlhf4j.core.report;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.report.Plot.Colour;
import org.rlhf4j.core.report.Plot.Line;
import org.rlhf4j.core.report.Plot.Panel;

/** {@code curves.csv} and {@code curves.png} of a run, made from the rows of {@link MetricsLog}. */
public final class Curves {
  /** The table's file name within {@code output_dir}. */
  public static final String CSV_FILE_NAME = "curves.csv";

  /** The picture's file name within {@code output_dir}. */
  public static final String PNG_FILE_NAME = "curves.png";

  private static final String LEARNING_RATE = "Learning rate";
  private static final int POINTS_TO_SMOOTH = 10;

  /** Weight of the past in the smoothed line, as TensorBoard's default. */
  private static final double SMOOTHING = 0.6;

  private Curves() {}

  /**
   * Writes both files into {@code outputDir}. Where the JDK has no fonts the picture is skipped and
   * one line on the console says so.
   */
  public static void write(
      Path outputDir, String title, List<Map<String, Object>> rows, Console console) {
    AtomicFiles.write(outputDir.resolve(CSV_FILE_NAME), csv(rows).getBytes(StandardCharsets.UTF_8));
    List<Panel> panels = panels(rows);
    if (panels.isEmpty()) {
      return;
    }
    Plot.write(outputDir.resolve(PNG_FILE_NAME), title, panels, console);
  }

  /** All fields of all rows, one line per row; what a row does not have stays empty. */
  static String csv(List<Map<String, Object>> rows) {
    Set<String> columns = new LinkedHashSet<>();
    rows.forEach(row -> columns.addAll(row.keySet()));
    StringBuilder csv = new StringBuilder(String.join(",", columns)).append('\n');
    for (Map<String, Object> row : rows) {
      csv.append(
              columns.stream()
                  .map(column -> cell(row.get(column)))
                  .collect(Collectors.joining(",")))
          .append('\n');
    }
    return csv.toString();
  }

  private static String cell(Object value) {
    String text = value == null ? "" : value.toString();
    return text.matches("(?s).*[\",\r\n].*") ? '"' + text.replace("\"", "\"\"") + '"' : text;
  }

  private static List<Panel> panels(List<Map<String, Object>> rows) {
    List<Panel> panels = new ArrayList<>();
    Line loss = overSteps(rows, MetricNames.LOSS, "train", Colour.BLUE);
    Line evalLoss =
        overSteps(rows, MetricNames.eval(MetricNames.LOSS), "evaluation", Colour.VERMILION);
    if (loss.x().length >= POINTS_TO_SMOOTH) {
      Line raw = new Line("train, raw", Colour.PALE_BLUE, false, loss.x(), loss.y());
      Line smoothed = new Line("train, smoothed", Colour.BLUE, false, loss.x(), smoothed(loss.y()));
      addPanel(panels, "Loss", "step", raw, smoothed, evalLoss);
    } else {
      addPanel(panels, "Loss", "step", loss, evalLoss);
    }
    addTrainAndEval(panels, rows, "Accuracy", MetricNames.ACCURACY);
    addTrainAndEval(panels, rows, "Token accuracy", MetricNames.MEAN_TOKEN_ACCURACY);
    addTrainAndEval(panels, rows, "Reward margin: chosen − rejected", MetricNames.MARGIN);
    addPanel(
        panels,
        "Reward",
        "step",
        overSteps(rows, MetricNames.MIN_REWARD, "min", Colour.VERMILION),
        overSteps(rows, MetricNames.MEAN_REWARD, "mean", Colour.BLUE),
        overSteps(rows, MetricNames.MAX_REWARD, "max", Colour.GREEN));
    addPanel(
        panels,
        "Mean reward",
        "step",
        overSteps(rows, MetricNames.REWARD_ALL_MEAN, "all", Colour.BLUE),
        overSteps(rows, MetricNames.REWARD_SELECTED_MEAN, "selected", Colour.VERMILION),
        overSteps(rows, MetricNames.REWARD_BEST_OF_K, "best of K", Colour.GREEN),
        overSteps(rows, MetricNames.eval(MetricNames.REWARD_ALL_MEAN), "held out", Colour.BLACK));
    addSingle(panels, rows, "KL to the start model (nats per response)", MetricNames.KL_TO_START);
    addPanel(
        panels,
        "Reward against KL",
        "KL (nats per response)",
        line(
            rows,
            MetricNames.KL_TO_START,
            MetricNames.REWARD_ALL_MEAN,
            "mean of all",
            Colour.BLUE));
    addTrainAndEval(panels, rows, "Mean score", MetricNames.OBJECTIVE_SCORES);
    addTrainAndEval(panels, rows, "Mean reward of a response", MetricNames.REWARD);
    addTrainAndEval(
        panels, rows, "KL to the reference (nats per response)", MetricNames.OBJECTIVE_KL);
    addPanel(
        panels,
        "Score against KL",
        "KL (nats per response)",
        line(
            rows,
            MetricNames.OBJECTIVE_KL,
            MetricNames.OBJECTIVE_SCORES,
            "roll-outs",
            Colour.BLUE));
    addSingle(panels, rows, "Mean response length (tokens)", MetricNames.COMPLETIONS_MEAN_LENGTH);
    addSingle(panels, rows, "Distinct 2-grams", MetricNames.DISTINCT_2);
    addSingle(panels, rows, LEARNING_RATE, MetricNames.LEARNING_RATE);
    addSingle(panels, rows, "Gradient norm before clipping", MetricNames.GRAD_NORM);
    return panels;
  }

  private static void addTrainAndEval(
      List<Panel> panels, List<Map<String, Object>> rows, String title, String metric) {
    addPanel(
        panels,
        title,
        "step",
        overSteps(rows, metric, "train", Colour.BLUE),
        overSteps(rows, MetricNames.eval(metric), "evaluation", Colour.VERMILION));
  }

  private static void addSingle(
      List<Panel> panels, List<Map<String, Object>> rows, String title, String metric) {
    addPanel(panels, title, "step", overSteps(rows, metric, title, Colour.BLUE));
  }

  private static void addPanel(List<Panel> panels, String title, String xAxis, Line... lines) {
    List<Line> present = new ArrayList<>(List.of(lines));
    present.removeIf(Line::isEmpty);
    if (!present.isEmpty()) {
      // The rate's height over zero says where in the schedule a step lies.
      panels.add(new Panel(title, xAxis, "", title.equals(LEARNING_RATE), present));
    }
  }

  private static Line overSteps(
      List<Map<String, Object>> rows, String metric, String name, Colour colour) {
    return line(rows, MetricNames.STEP, metric, name, colour);
  }

  private static Line line(
      List<Map<String, Object>> rows, String xMetric, String yMetric, String name, Colour colour) {
    List<Map<String, Object>> present =
        rows.stream()
            .filter(row -> row.get(xMetric) instanceof Number && row.get(yMetric) instanceof Number)
            .toList();
    return new Line(name, colour, false, column(present, xMetric), column(present, yMetric));
  }

  private static double[] column(List<Map<String, Object>> rows, String metric) {
    return rows.stream().mapToDouble(row -> ((Number) row.get(metric)).doubleValue()).toArray();
  }

  /** Exponential mean, corrected for its start at zero as Adam's moments are. */
  static double[] smoothed(double[] values) {
    double[] smoothed = new double[values.length];
    double mean = 0;
    double weight = 0;
    for (int i = 0; i < values.length; i++) {
      mean = SMOOTHING * mean + (1 - SMOOTHING) * values[i];
      weight = SMOOTHING * weight + (1 - SMOOTHING);
      smoothed[i] = mean / weight;
    }
    return smoothed;
  }
}
