package org.rlhf4j.core.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.DoubleStream;
import javax.imageio.ImageIO;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.AxesChartStyler;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;
import org.rlhf4j.core.checkpoint.AtomicFiles;

/** Lines over numbers, in one PNG file. */
public final class Plot {
  private static final int WIDTH = 1200;
  private static final int TITLE_HEIGHT = 48;
  private static final int PANEL_HEIGHT = 330;
  private static final int HEIGHT_ALONE = 640;
  private static final double SHORTEST_AXIS = 1e-3;
  private static final int LABEL_SPACING = 60;
  private static final int POINTS_WITH_MARKERS = 30;
  private static final float[] DASHES = {7, 5};
  private static final Color INK = new Color(0x333333);
  private static final Color GRID = new Color(0xe6e6e6);

  private Plot() {}

  /** Okabe and Ito's colours, which colour-blind readers can tell apart, and pale ones of them. */
  public enum Colour {
    BLUE(0x0072b2),
    VERMILION(0xd55e00),
    GREEN(0x009e73),
    BLACK(0x333333),
    PALE_BLUE(0xa6cfe8),
    PALE_VERMILION(0xf3c9a8),
    PALE_GREEN(0xa6dccb);

    private final Color colour;

    Colour(int rgb) {
      this.colour = new Color(rgb);
    }

    boolean isPale() {
      return this == PALE_BLUE || this == PALE_VERMILION || this == PALE_GREEN;
    }
  }

  /**
   * A line through points. Pale lines are thin and without marks.
   *
   * @param name in the legend, different from all others of its panel; a pale line whose name
   *     begins with a blank is not in the legend
   * @param colour of line and marks
   * @param isDashed whether the line is broken
   * @param x {@code [points]}
   * @param y {@code [points]}
   */
  public record Line(String name, Colour colour, boolean isDashed, double[] x, double[] y) {
    boolean isEmpty() {
      return x.length == 0;
    }
  }

  /**
   * One set of axes; the horizontal one begins at 0.
   *
   * @param xAxis what x is
   * @param yAxis what y is; empty where the title says it
   * @param isFromZero whether the vertical axis begins at 0, too
   */
  public record Panel(
      String title, String xAxis, String yAxis, boolean isFromZero, List<Line> lines) {
    DoubleStream x() {
      return lines.stream().flatMapToDouble(line -> Arrays.stream(line.x));
    }
  }

  /**
   * Writes a picture of some panels, two or three to a row. Where the JDK has no fonts the picture
   * is skipped and one line on the console says so.
   *
   * @param panels at least one
   */
  public static void write(Path file, String title, List<Panel> panels, Console console) {
    byte[] picture;
    try {
      picture = png(title, panels);
    } catch (Error | RuntimeException e) {
      if (!comesFromFonts(e)) {
        throw e;
      }
      console.line(
          file.getFileName() + " skipped: this Java finds no fonts (" + rootMessage(e) + ")");
      return;
    }
    AtomicFiles.write(file, picture);
  }

  private static byte[] png(String title, List<Panel> panels) {
    System.setProperty("java.awt.headless", "true");
    int columns = panels.size() == 1 ? 1 : panels.size() <= 4 ? 2 : 3;
    int panelWidth = WIDTH / columns;
    int panelHeight = panels.size() == 1 ? HEIGHT_ALONE : PANEL_HEIGHT;
    int panelRows = (panels.size() + columns - 1) / columns;
    BufferedImage image =
        new BufferedImage(
            WIDTH, TITLE_HEIGHT + panelRows * panelHeight, BufferedImage.TYPE_INT_RGB);
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
                    TITLE_HEIGHT + i / columns * panelHeight,
                    panelWidth,
                    panelHeight);
        chart(panels.get(i), panelWidth, panelHeight).paint(place, panelWidth, panelHeight);
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

  private static XYChart chart(Panel panel, int width, int height) {
    XYChart chart = new XYChart(width, height);
    chart.setTitle(panel.title);
    chart.setXAxisTitle(panel.xAxis);
    chart.setYAxisTitle(panel.yAxis);
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
    if (panel.isFromZero) {
      styler.setYAxisMin(0.0);
    }
    for (Line line : panel.lines) {
      XYSeries series = chart.addSeries(line.name, line.x, line.y);
      series.setLineColor(line.colour.colour);
      series.setMarkerColor(line.colour.colour);
      float weight = line.colour.isPale() ? 1f : 2f;
      series.setLineStyle(
          new BasicStroke(
              weight,
              BasicStroke.CAP_BUTT,
              BasicStroke.JOIN_ROUND,
              1,
              line.isDashed ? DASHES : null,
              0));
      series.setShowInLegend(!line.name.startsWith(" "));
      boolean marked = line.x.length <= POINTS_WITH_MARKERS && !line.colour.isPale();
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
