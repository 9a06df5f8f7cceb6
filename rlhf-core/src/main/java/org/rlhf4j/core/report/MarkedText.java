package org.rlhf4j.core.report;

import java.util.List;

/**
 * A decoded row in which the parts that the loss sees are marked.
 *
 * @param spans the row from left to right
 */
public record MarkedText(List<Span> spans) {
  /** A piece of text of which either all tokens are targets of the loss or none is. */
  public record Span(String text, boolean target) {}
}
