package org.rlhf4j.core.report;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import java.util.regex.Pattern;

/**
 * What a person sees while a run goes on. On a terminal there are colours (unless {@code NO_COLOR}
 * is set) and moving progress bars; elsewhere plain lines without any control character. All
 * methods may be called from several threads.
 */
public final class Console {
  private static final int DEFAULT_WIDTH = 100;
  private static final int NARROWEST = 40;
  private static final int SAMPLES_SHOWN = 5;
  private static final String INDENT = "  ";
  private static final String ABSENT = "–";
  private static final String CLEAR_LINE = "\r\u001b[2K";
  private static final Pattern NUMBER =
      Pattern.compile("[-+]?[0-9][0-9,]*(\\.[0-9]+)?(e[-+]?[0-9]+)?( %| s)?|nan|-?inf");

  private final PrintStream out;
  private final boolean terminal;
  private final boolean colour;
  private final int width;
  private final LongSupplier nanoTime;

  /** Phases under way, the innermost first: only that one has its bar on the screen. */
  private final Deque<Progress> phases = new ArrayDeque<>();

  private boolean barOnScreen;

  Console(PrintStream out, boolean terminal, boolean colour, int width, LongSupplier nanoTime) {
    this.out = out;
    this.terminal = terminal;
    this.colour = colour;
    this.width = Math.max(NARROWEST, width);
    this.nanoTime = nanoTime;
  }

  /**
   * Standard output. {@code COLUMNS} gives the width where it is set; {@code NO_COLOR} and {@code
   * TERM=dumb} are obeyed.
   */
  public static Console standard() {
    boolean windows = System.getProperty("os.name", "").startsWith("Windows");
    // A POSIX locale would turn every letter beyond ASCII into a question mark.
    PrintStream out =
        windows
            ? System.out
            : new PrintStream(
                new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
    boolean terminal = isInteractive() && !"dumb".equals(System.getenv("TERM"));
    String noColour = System.getenv("NO_COLOR");
    boolean colour = terminal && (noColour == null || noColour.isEmpty());
    return new Console(out, terminal, colour, columns(System.getenv("COLUMNS")), System::nanoTime);
  }

  /** Plain lines, as for a log file, with tables of at most {@code width} columns. */
  public static Console plain(PrintStream out, int width) {
    return new Console(out, false, false, width, System::nanoTime);
  }

  /** Says nothing; for use as a library. */
  public static Console silent() {
    return plain(
        new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8), 0);
  }

  /** Shows the start banner. */
  public synchronized void banner(Banner banner) {
    List<String> lines = banner.lines(width);
    line(Style.BOLD.of(lines.get(0), colour));
    boolean marked = false;
    for (String text : lines.subList(1, lines.size())) {
      StringBuilder line = new StringBuilder(marked ? Style.MARK.begin(colour) : "");
      line.append(
          text.replace(MarkedText.BEGIN, Style.MARK.begin(colour) + MarkedText.BEGIN)
              .replace(MarkedText.END, MarkedText.END + Style.end(colour)));
      int begin = text.lastIndexOf(MarkedText.BEGIN);
      int end = text.lastIndexOf(MarkedText.END);
      marked = begin > end || (marked && end < 0);
      line(line + (marked ? Style.end(colour) : ""));
    }
  }

  /**
   * Begins a phase with a known amount of work. Nothing is shown for a phase that takes less than
   * two seconds. The caller closes it.
   *
   * @param phase as {@code train}, {@code sample}
   * @param total units of work
   * @param unit the plural of what is counted, as {@code steps}
   */
  public synchronized Progress progress(String phase, long total, String unit) {
    Progress progress = new Progress(this, phase, total, unit);
    phases.push(progress);
    return progress;
  }

  /**
   * Runs what is no part of the phases under way, as an evaluation amid a training: their clocks
   * stand still meanwhile, so that their rates and remaining times stay those of their own units.
   */
  public <T> T aside(Supplier<T> body) {
    List<Progress> stopped = stopClocks();
    try {
      return body.get();
    } finally {
      startClocks(stopped);
    }
  }

  private synchronized List<Progress> stopClocks() {
    return phases.stream().filter(Progress::stop).toList();
  }

  private synchronized void startClocks(List<Progress> stopped) {
    stopped.forEach(Progress::goOn);
  }

  /** One line of text. */
  public synchronized void line(String text) {
    eraseBar();
    out.print(text + "\n");
    out.flush();
  }

  /** Something that works but was probably not meant. */
  public synchronized void warn(String message) {
    line(Style.WARNING.of("Warning: ", colour) + message);
  }

  /** The first five samples: prompt, answer, score, KL, length. */
  public synchronized void samples(String title, List<Sample> samples) {
    List<List<String>> rows = new ArrayList<>();
    for (Sample sample : samples.subList(0, Math.min(SAMPLES_SHOWN, samples.size()))) {
      rows.add(
          List.of(
              sample.prompt(),
              sample.response(),
              sample.score() == null ? ABSENT : Format.number(sample.score()),
              sample.kl() == null ? ABSENT : Format.number(sample.kl()),
              Format.count(sample.length())));
    }
    table(title, List.of("prompt", "answer", "score", "KL", "length"), rows);
  }

  /**
   * A table. Cells are shown on one line each; where the table is too wide, the widest columns are
   * cut. Columns of numbers are aligned to the right.
   */
  public synchronized void table(String title, List<String> header, List<List<String>> rows) {
    List<List<String>> cells =
        rows.stream().map(row -> row.stream().map(DisplayText::oneLine).toList()).toList();
    int[] widths = columnWidths(header, cells);
    boolean[] right = new boolean[header.size()];
    for (int column = 0; column < right.length; column++) {
      right[column] = isNumeric(cells, column);
    }
    List<String> rule = new ArrayList<>();
    for (int columns : widths) {
      rule.add("─".repeat(columns));
    }
    line(Style.BOLD.of(title, colour));
    line(INDENT + Style.FAINT.of(row(header, widths, right), colour));
    line(INDENT + Style.FAINT.of(row(rule, widths, right), colour));
    cells.forEach(cell -> line(INDENT + row(cell, widths, right)));
  }

  /** Texts side by side, each column as wide as the next and wrapped; a blank line between rows. */
  public synchronized void sideBySide(String title, List<String> header, List<List<String>> rows) {
    int each = width / header.size() - INDENT.length();
    line(Style.BOLD.of(title, colour));
    line(INDENT + Style.FAINT.of(sideBySide(header, each).get(0), colour));
    line(
        INDENT
            + Style.FAINT.of(
                sideBySide(header.stream().map(h -> "─".repeat(each)).toList(), each).get(0),
                colour));
    for (int i = 0; i < rows.size(); i++) {
      if (i > 0) {
        line("");
      }
      sideBySide(rows.get(i), each).forEach(text -> line(INDENT + text));
    }
  }

  private static List<String> sideBySide(List<String> cells, int each) {
    List<List<String>> wrapped =
        cells.stream().map(cell -> DisplayText.wrap(DisplayText.oneLine(cell), each)).toList();
    int height = wrapped.stream().mapToInt(List::size).max().orElse(0);
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < height; i++) {
      List<String> parts = new ArrayList<>();
      for (List<String> cell : wrapped) {
        parts.add(DisplayText.fit(i < cell.size() ? cell.get(i) : "", each));
      }
      lines.add(String.join(INDENT, parts).stripTrailing());
    }
    return lines;
  }

  /** Names and values in two columns. */
  public synchronized void facts(String title, Map<String, String> facts) {
    int names = facts.keySet().stream().mapToInt(DisplayText::width).max().orElse(0);
    line(Style.BOLD.of(title, colour));
    facts.forEach(
        (name, value) ->
            line(
                INDENT
                    + Style.FAINT.of(DisplayText.fit(name, names), colour)
                    + INDENT
                    + DisplayText.oneLine(value)));
  }

  boolean isTerminal() {
    return terminal;
  }

  long nanoTime() {
    return nanoTime.getAsLong();
  }

  void drawBar(Progress progress) {
    if (progress == phases.peek()) {
      // The last column stays free: some terminals move to the next line when it is filled.
      out.print(CLEAR_LINE + DisplayText.cut(progress.barLine(), width - 1));
      out.flush();
      barOnScreen = true;
    }
  }

  void end(Progress progress) {
    phases.remove(progress);
    eraseBar();
  }

  private void eraseBar() {
    if (barOnScreen) {
      out.print(CLEAR_LINE);
      barOnScreen = false;
    }
  }

  private int[] columnWidths(List<String> header, List<List<String>> rows) {
    int[] widths = header.stream().mapToInt(DisplayText::width).toArray();
    int[] least = widths.clone();
    for (List<String> row : rows) {
      if (row.size() != widths.length) {
        throw new IllegalArgumentException(
            "a row of " + row.size() + " cells under a header of " + widths.length);
      }
      for (int column = 0; column < widths.length; column++) {
        widths[column] = Math.max(widths[column], DisplayText.width(row.get(column)));
      }
    }
    int total = INDENT.length() * widths.length;
    for (int columns : widths) {
      total += columns;
    }
    for (; total > width; total--) {
      int widest = 0;
      for (int column = 1; column < widths.length; column++) {
        widest = widths[column] > widths[widest] ? column : widest;
      }
      if (widths[widest] <= least[widest]) {
        break;
      }
      widths[widest]--;
    }
    return widths;
  }

  private static boolean isNumeric(List<List<String>> rows, int column) {
    return rows.stream()
        .map(row -> row.get(column))
        .allMatch(cell -> cell.equals(ABSENT) || NUMBER.matcher(cell).matches());
  }

  private static String row(List<String> cells, int[] widths, boolean[] right) {
    List<String> padded = new ArrayList<>();
    for (int column = 0; column < widths.length; column++) {
      String cell = DisplayText.cut(cells.get(column), widths[column]);
      String blanks = " ".repeat(widths[column] - DisplayText.width(cell));
      padded.add(right[column] ? blanks + cell : cell + blanks);
    }
    return String.join(INDENT, padded).stripTrailing();
  }

  private static int columns(String text) {
    return text != null && text.matches("[0-9]{1,4}") ? Integer.parseInt(text) : DEFAULT_WIDTH;
  }

  /** Whether someone is looking: from Java 22 on, a console exists without a terminal too. */
  private static boolean isInteractive() {
    java.io.Console console = System.console();
    if (console == null) {
      return false;
    }
    try {
      return (Boolean) java.io.Console.class.getMethod("isTerminal").invoke(console);
    } catch (NoSuchMethodException beforeJava22) {
      return true;
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("Console.isTerminal cannot be called", e);
    }
  }

  private enum Style {
    BOLD("1"),
    FAINT("2"),
    MARK("32"),
    WARNING("33");

    private final String code;

    Style(String code) {
      this.code = code;
    }

    String begin(boolean colour) {
      return colour ? "\u001b[" + code + "m" : "";
    }

    static String end(boolean colour) {
      return colour ? "\u001b[0m" : "";
    }

    String of(String text, boolean colour) {
      return begin(colour) + text + end(colour);
    }
  }
}
