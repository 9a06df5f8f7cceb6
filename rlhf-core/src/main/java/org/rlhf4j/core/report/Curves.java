package org.rlhf4j.core.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.DoubleStream;
import javax.imageio.ImageIO;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.AxesChartStyler;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;
import org.rlhf4j.core.checkpoint.AtomicFiles;

/** {@code curves.csv} and {@code curves.png} of a run, made from the rows of {@link MetricsLog}. */
public final class Curves {
  /** The table's file name within {@code output_dir}. */
  public static final String CSV_FILE_NAME = "curves.csv";

  /** The picture's file name within {@code output_dir}. */
  public static final String PNG_FILE_NAME = "curves.png";

  private static final String LEARNING_RATE = "Learning rate";
  private static final int WIDTH = 1200;
  private static final int TITLE_HEIGHT = 48;
  private static final int PANEL_HEIGHT = 330;
  private static final double SHORTEST_AXIS = 1e-3;
  private static final int LABEL_SPACING = 60;
  private static final int POINTS_WITH_MARKERS = 30;
  private static final int POINTS_TO_SMOOTH = 10;

  /** Weight of the past in the smoothed line, as TensorBoard's default. */
  private static final double SMOOTHING = 0.6;

  // Okabe and Ito's colours, which colour-blind readers can tell apart.
  private static final Color BLUE = new Color(0x0072b2);
  private static final Color VERMILION = new Color(0xd55e00);
  private static final Color GREEN = new Color(0x009e73);
  private static final Color PALE_BLUE = new Color(0xa6cfe8);
  private static final Color INK = new Color(0x333333);
  private static final Color GRID = new Color(0xe6e6e6);

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
    byte[] picture;
    try {
      picture = png(title, panels);
    } catch (Error | RuntimeException e) {
      if (!comesFromFonts(e)) {
        throw e;
      }
      console.line(PNG_FILE_NAME + " skipped: this Java finds no fonts (" + rootMessage(e) + ")");
      return;
    }
    AtomicFiles.write(outputDir.resolve(PNG_FILE_NAME), picture);
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

  /** One set of axes. */
  private record Panel(String title, String xAxis, List<Line> lines) {
    DoubleStream x() {
      return lines.stream().flatMapToDouble(line -> Arrays.stream(line.x));
    }
  }

  private record Line(String name, Color colour, double[] x, double[] y) {
    boolean isEmpty() {
      return x.length == 0;
    }
  }

  private static List<Panel> panels(List<Map<String, Object>> rows) {
    List<Panel> panels = new ArrayList<>();
    Line loss = overSteps(rows, MetricNames.LOSS, "train", BLUE);
    Line evalLoss = overSteps(rows, MetricNames.eval(MetricNames.LOSS), "evaluation", VERMILION);
    if (loss.x.length >= POINTS_TO_SMOOTH) {
      Line raw = new Line("train, raw", PALE_BLUE, loss.x, loss.y);
      Line smoothed = new Line("train, smoothed", BLUE, loss.x, smoothed(loss.y));
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
        overSteps(rows, MetricNames.MIN_REWARD, "min", VERMILION),
        overSteps(rows, MetricNames.MEAN_REWARD, "mean", BLUE),
        overSteps(rows, MetricNames.MAX_REWARD, "max", GREEN));
    addPanel(
        panels,
        "Mean reward",
        "step",
        overSteps(rows, MetricNames.REWARD_ALL_MEAN, "all", BLUE),
        overSteps(rows, MetricNames.REWARD_SELECTED_MEAN, "selected", VERMILION),
        overSteps(rows, MetricNames.REWARD_BEST_OF_K, "best of K", GREEN),
        overSteps(rows, MetricNames.eval(MetricNames.REWARD_ALL_MEAN), "held out", INK));
    addSingle(panels, rows, "KL to the start model (nats per response)", MetricNames.KL_TO_START);
    addPanel(
        panels,
        "Reward against KL",
        "KL (nats per response)",
        line(rows, MetricNames.KL_TO_START, MetricNames.REWARD_ALL_MEAN, "mean of all", BLUE));
    addTrainAndEval(panels, rows, "Mean score", MetricNames.OBJECTIVE_SCORES);
    addTrainAndEval(panels, rows, "Mean reward of a response", MetricNames.REWARD);
    addTrainAndEval(
        panels, rows, "KL to the reference (nats per response)", MetricNames.OBJECTIVE_KL);
    addPanel(
        panels,
        "Score against KL",
        "KL (nats per response)",
        line(rows, MetricNames.OBJECTIVE_KL, MetricNames.OBJECTIVE_SCORES, "roll-outs", BLUE));
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
        overSteps(rows, metric, "train", BLUE),
        overSteps(rows, MetricNames.eval(metric), "evaluation", VERMILION));
  }

  private static void addSingle(
      List<Panel> panels, List<Map<String, Object>> rows, String title, String metric) {
    addPanel(panels, title, "step", overSteps(rows, metric, title, BLUE));
  }

  private static void addPanel(List<Panel> panels, String title, String xAxis, Line... lines) {
    List<Line> present = new ArrayList<>(List.of(lines));
    present.removeIf(Line::isEmpty);
    if (!present.isEmpty()) {
      panels.add(new Panel(title, xAxis, present));
    }
  }

  private static Line overSteps(
      List<Map<String, Object>> rows, String metric, String name, Color colour) {
    return line(rows, MetricNames.STEP, metric, name, colour);
  }

  private static Line line(
      List<Map<String, Object>> rows, String xMetric, String yMetric, String name, Color colour) {
    List<Map<String, Object>> present =
        rows.stream()
            .filter(row -> row.get(xMetric) instanceof Number && row.get(yMetric) instanceof Number)
            .toList();
    return new Line(name, colour, column(present, xMetric), column(present, yMetric));
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

  private static byte[] png(String title, List<Panel> panels) {
    System.setProperty("java.awt.headless", "true");
    int columns = panels.size() == 1 ? 1 : panels.size() <= 4 ? 2 : 3;
    int panelWidth = WIDTH / columns;
    int panelRows = (panels.size() + columns - 1) / columns;
    BufferedImage image =
        new BufferedImage(
            WIDTH, TITLE_HEIGHT + panelRows * PANEL_HEIGHT, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    try {
      graphics.setRenderingHint(
          RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
      graphics.setColor(Color.WHITE);
      graphics.fillRect(0, 0, image.getWidth(), image.getHeight());
      graphics.setColor(INK);
      graphics.setFont(new Font(Font.SANS_SERIF, Font.BOLD, 18));
      graphics.drawString(title, 20, 32);
      for (int i = 0; i < panels.size(); i++) {
        Graphics2D place =
            (Graphics2D)
                graphics.create(
                    i % columns * panelWidth,
                    TITLE_HEIGHT + i / columns * PANEL_HEIGHT,
                    panelWidth,
                    PANEL_HEIGHT);
        chart(panels.get(i), panelWidth).paint(place, panelWidth, PANEL_HEIGHT);
        place.dispose();
      }
    } finally {
      graphics.dispose();
    }
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try {
      ImageIO.setUseCache(false);
      ImageIO.write(image, "png", bytes);
    } catch (IOException e) {
      throw new IllegalStateException("writing a PNG to memory failed", e);
    }
    return bytes.toByteArray();
  }

  private static XYChart chart(Panel panel, int width) {
    XYChart chart = new XYChart(width, PANEL_HEIGHT);
    chart.setTitle(panel.title);
    chart.setXAxisTitle(panel.xAxis);
    XYStyler styler = chart.getStyler();
    styler.setLocale(Locale.ROOT);
    styler.setChartBackgroundColor(Color.WHITE).setChartFontColor(INK).setChartPadding(12);
    styler.setChartTitleBoxVisible(false);
    styler.setChartTitleFont(new Font(Font.SANS_SERIF, Font.BOLD, 14));
    styler.setAxisTitleFont(new Font(Font.SANS_SERIF, Font.PLAIN, 12));
    styler.setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, 11));
    styler.setLegendFont(new Font(Font.SANS_SERIF, Font.PLAIN, 12));
    styler.setPlotBorderVisible(false).setPlotBackgroundColor(Color.WHITE);
    styler.setPlotGridLinesColor(GRID);
    styler.setPlotGridLinesStroke(new BasicStroke(1));
    styler.setPlotGridVerticalLinesVisible(false);
    styler.setYAxisTickLabelsFormattingFunction(Format::number);
    styler.setXAxisDecimalPattern("#,##0.##");
    styler.setYAxisLabelAlignment(AxesChartStyler.TextAlignment.Right);
    styler.setLegendVisible(panel.lines.size() > 1);
    styler.setLegendPosition(Styler.LegendPosition.OutsideS);
    styler.setLegendLayout(Styler.LegendLayout.Horizontal);
    styler.setLegendBorderColor(Color.WHITE).setLegendPadding(10);
    styler.setMarkerSize(5);
    double first = Math.min(0, panel.x().min().orElse(0));
    double last = Math.max(first + SHORTEST_AXIS, panel.x().max().orElse(0));
    // Equally spaced values that fill the axis would each get a label.
    styler.setXAxisMin(first).setXAxisMax(last + 0.01 * (last - first));
    styler.setXAxisTickMarkSpacingHint(LABEL_SPACING);
    // The rate's height over zero says where in the schedule a step lies.
    if (panel.title.equals(LEARNING_RATE)) {
      styler.setYAxisMin(0.0);
    }
    for (Line line : panel.lines) {
      XYSeries series = chart.addSeries(line.name, line.x, line.y);
      series.setLineColor(line.colour);
      series.setMarkerColor(line.colour);
      series.setLineWidth(line.colour.equals(PALE_BLUE) ? 1f : 2f);
      boolean marked = line.x.length <= POINTS_WITH_MARKERS && !line.colour.equals(PALE_BLUE);
      series.setMarker(marked ? SeriesMarkers.CIRCLE : SeriesMarkers.NONE);
    }
    return chart;
  }

  private static String rootMessage(Throwable failure) {
    Throwable root = failure;
    while (root.getCause() != null) {
      root = root.getCause();
    }
    return root.getMessage();
  }

  /**
   * Whether drawing failed in the JDK's font code: {@code java.lang.Error} on 17 without font
   * files, an {@code InternalError} or {@code RuntimeException} on later ones ("Fontconfig head is
   * null"), {@code UnsatisfiedLinkError} where libfreetype is missing, and {@code
   * NoClassDefFoundError} for every attempt after the first.
   */
  static boolean comesFromFonts(Throwable failure) {
    for (Throwable t = failure; t != null; t = t.getCause()) {
      for (StackTraceElement frame : t.getStackTrace()) {
        if (frame.getClassName().startsWith("sun.font.")
            || frame.getClassName().startsWith("sun.awt.Font")) {
          return true;
        }
      }
    }
    return failure instanceof LinkageError;
  }
}
