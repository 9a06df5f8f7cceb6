package org.rlhf4j.core.report;

import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * What became of the rows of a data set: read = kept + all dropped.
 *
 * @param name what the rows are for, as {@code train} or {@code eval}
 * @param read rows in the files
 * @param kept rows used
 * @param dropped rows left out, by reason, in the order to show
 * @param truncated kept rows that were cut to the limit
 * @param lengths of the rows in tokens, before any is cut or dropped for its length
 * @param limit the longest row allowed, in tokens
 */
public record DataSummary(
    String name,
    long read,
    long kept,
    Map<String, Long> dropped,
    long truncated,
    LengthQuantiles lengths,
    int limit) {
  /** Count in must be count out. */
  public DataSummary {
    long droppedRows = dropped.values().stream().mapToLong(Long::longValue).sum();
    if (read != kept + droppedRows) {
      throw new IllegalArgumentException(
          name + ": " + read + " rows read, but " + kept + " kept and " + droppedRows + " dropped");
    }
  }

  /** Quantiles by nearest rank, in tokens. */
  public record LengthQuantiles(int median, int p95, int max) {
    /** Of the given lengths, in any order; all zero where there are none. */
    public static LengthQuantiles of(int[] lengths) {
      if (lengths.length == 0) {
        return new LengthQuantiles(0, 0, 0);
      }
      int[] sorted = lengths.clone();
      Arrays.sort(sorted);
      return new LengthQuantiles(
          nearestRank(sorted, 0.5), nearestRank(sorted, 0.95), sorted[sorted.length - 1]);
    }

    private static int nearestRank(int[] sorted, double share) {
      return sorted[(int) Math.ceil(share * sorted.length) - 1];
    }
  }

  /** {@code 1,600 rows read, 1,137 kept, 463 dropped (463 longer than max_length), 0 truncated}. */
  String rowsLine() {
    long droppedRows = dropped.values().stream().mapToLong(Long::longValue).sum();
    String reasons =
        dropped.entrySet().stream()
            .filter(reason -> reason.getValue() > 0)
            .map(reason -> Format.count(reason.getValue()) + " " + reason.getKey())
            .collect(Collectors.joining(", ", " (", ")"));
    return String.format(
        Locale.ROOT,
        "%s rows read, %s kept, %s dropped%s, %s truncated",
        Format.count(read),
        Format.count(kept),
        Format.count(droppedRows),
        droppedRows == 0 ? "" : reasons,
        Format.count(truncated));
  }

  /**
   * {@code tokens per row: median 211, p95 489, max 2,512; limit 512, which cuts 1.2 % of the
   * kept}.
   */
  String lengthsLine() {
    return String.format(
        Locale.ROOT,
        "tokens per row: median %s, p95 %s, max %s; limit %s, which cuts %s of the kept",
        Format.count(lengths.median),
        Format.count(lengths.p95),
        Format.count(lengths.max),
        Format.count(limit),
        Format.percent(kept == 0 ? 0 : (double) truncated / kept));
  }
}
