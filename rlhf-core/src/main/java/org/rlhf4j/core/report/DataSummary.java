package org.rlhf4j.core.report;

import java.util.Arrays;
import java.util.Map;

/**
 * What became of the rows of a data set: read = kept + all dropped.
 *
 * @param name what the rows are for, as {@code train} or {@code eval}
 * @param read rows in the files
 * @param kept rows used
 * @param dropped rows left out, by reason, in the order to show
 * @param truncated kept rows that were cut to the limit
 * @param lengths of the kept rows in tokens, before cutting
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
}
