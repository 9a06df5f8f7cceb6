package org.rlhf4j.core.data;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What became of a data set's rows. Kept and dropped rows add up to the rows read.
 *
 * @param rowsByFile for each file the rows in it, bad ones included; in the order of reading
 * @param rowsKept rows that are used
 * @param dropped number of rows left out, by reason
 * @param badRows the rows that cannot be used, each with file and line; also counted in {@code
 *     dropped}
 * @param truncated kept rows that were cut to the limit
 * @param prefixMismatches kept rows whose prompt alone encodes otherwise than in front of its
 *     completion, by place
 * @param lengthP50 median number of tokens of the readable rows before cutting (pairs: the longer
 *     side)
 * @param lengthP95 95 % of these rows are at most this long
 * @param lengthMax the longest
 * @param maxLength the limit
 */
public record DataReport(
    Map<Path, Integer> rowsByFile,
    int rowsKept,
    Map<String, Integer> dropped,
    List<BadRow> badRows,
    int truncated,
    List<RowOrigin> prefixMismatches,
    int lengthP50,
    int lengthP95,
    int lengthMax,
    int maxLength) {
  private static final int SHOWN = 3;

  /** Checks that every row is accounted for. */
  public DataReport {
    if (rowsKept + sum(dropped) != sum(rowsByFile)) {
      throw new IllegalStateException(
          "rows read " + rowsByFile + ", kept " + rowsKept + ", dropped " + dropped);
    }
  }

  private static int sum(Map<?, Integer> counts) {
    return counts.values().stream().mapToInt(Integer::intValue).sum();
  }

  /** Rows in the files, bad ones included. */
  public int rowsRead() {
    return sum(rowsByFile);
  }

  /** Rows left out for any reason. */
  public int rowsDropped() {
    return sum(dropped);
  }

  /** Kept rows whose prompt ids are no prefix of the whole row's. */
  public int prefixMismatchCount() {
    return prefixMismatches.size();
  }

  /** The report for people, a few short lines. */
  public List<String> lines() {
    List<String> lines = new ArrayList<>();
    lines.add(
        text(
            "rows: %,d read, %,d kept, %,d dropped, %,d truncated",
            rowsRead(), rowsKept, rowsDropped(), truncated));
    dropped.forEach((reason, count) -> lines.add(text("dropped %,d: %s", count, reason)));
    badRows.stream().limit(SHOWN).forEach(row -> lines.add("bad row " + row));
    if (!prefixMismatches.isEmpty()) {
      lines.add(
          text(
              "prefix_mismatch %,d: the prompt alone encodes differently, first at %s",
              prefixMismatches.size(), prefixMismatches.get(0)));
    }
    lines.add(
        text(
            "tokens: p50 %,d, p95 %,d, max %,d, limit %,d",
            lengthP50, lengthP95, lengthMax, maxLength));
    return lines;
  }

  /** The same in every country. */
  private static String text(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }
}
