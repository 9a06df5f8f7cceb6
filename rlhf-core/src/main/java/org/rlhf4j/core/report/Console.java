package org.rlhf4j.core.report;

import java.io.PrintStream;
import java.util.List;
import java.util.Map;

/**
 * What a person sees while a run goes on. On a terminal there are colours (unless {@code NO_COLOR}
 * is set) and moving progress bars; elsewhere plain lines without any control character. All
 * methods may be called from several threads.
 */
public final class Console {
  private Console() {}

  /** Standard output, with the terminal found out. */
  public static Console standard() {
    throw new UnsupportedOperationException();
  }

  /** Plain lines of at most {@code width} columns to the given stream. */
  public static Console plain(PrintStream out, int width) {
    throw new UnsupportedOperationException();
  }

  /** Says nothing; for use as a library. */
  public static Console silent() {
    return new Console();
  }

  /** Shows the start banner. */
  public void banner(Banner banner) {
    throw new UnsupportedOperationException();
  }

  /**
   * Begins a phase with a known amount of work. Nothing is shown for a phase that takes less than
   * two seconds. The caller closes it.
   *
   * @param phase as {@code train}, {@code sample}
   * @param total units of work
   * @param unit the plural of what is counted, as {@code steps}
   */
  public Progress progress(String phase, long total, String unit) {
    throw new UnsupportedOperationException();
  }

  /** One line of text. */
  public void line(String text) {
    throw new UnsupportedOperationException();
  }

  /** Something that works but was probably not meant. */
  public void warn(String message) {
    throw new UnsupportedOperationException();
  }

  /** The first five samples: prompt, answer, score, KL, length. */
  public void samples(String title, List<Sample> samples) {
    throw new UnsupportedOperationException();
  }

  /** A table; columns whose cells are all numbers are aligned to the right. */
  public void table(String title, List<String> header, List<List<String>> rows) {
    throw new UnsupportedOperationException();
  }

  /** Names and values in two columns. */
  public void facts(String title, Map<String, String> facts) {
    throw new UnsupportedOperationException();
  }
}
