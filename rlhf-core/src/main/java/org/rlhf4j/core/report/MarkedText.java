package org.rlhf4j.core.report;

import java.util.List;
import java.util.stream.Collectors;

/**
 * A decoded row in which the parts that the loss sees are marked.
 *
 * @param spans the row from left to right
 */
public record MarkedText(List<Span> spans) {
  static final String BEGIN = "⟦";
  static final String END = "⟧";
  private static final String LEFT_OUT = " … ";

  /** A piece of text of which either all tokens are targets of the loss or none is. */
  public record Span(String text, boolean target) {}

  /**
   * The row on one line, targets between ⟦ and ⟧; where the text itself has these marks, they are
   * shown by their numbers, {@code 27e6} and {@code 27e7} behind a backslash and a u. Where the row
   * takes more than {@code columns}, long spans lose their middles, since their ends show where the
   * loss begins and stops.
   */
  String render(int columns) {
    int share = columns / Math.max(1, spans.size());
    boolean tooLong = DisplayText.width(join(Integer.MAX_VALUE)) > columns;
    return DisplayText.cut(join(tooLong ? share : Integer.MAX_VALUE), columns);
  }

  private String join(int spanColumns) {
    return spans.stream()
        .map(
            span ->
                span.target
                    ? BEGIN + shorten(span.text, spanColumns - 2) + END
                    : shorten(span.text, spanColumns))
        .collect(Collectors.joining());
  }

  private static String shorten(String text, int columns) {
    String line = DisplayText.oneLine(text).replace(BEGIN, "\\u27e6").replace(END, "\\u27e7");
    int half = Math.max(1, (columns - LEFT_OUT.length()) / 2);
    return DisplayText.width(line) <= columns
        ? line
        : DisplayText.head(line, half) + LEFT_OUT + DisplayText.tail(line, half);
  }
}
