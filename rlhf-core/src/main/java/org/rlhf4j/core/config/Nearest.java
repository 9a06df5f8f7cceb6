package org.rlhf4j.core.config;

import java.util.Collection;
import java.util.Comparator;
import java.util.Locale;

/** The known word that a mistyped one was most likely meant to be. */
public final class Nearest {
  private Nearest() {}

  /**
   * Words the mistyped one against all known ones.
   *
   * @param word what was written
   * @param known the words that exist, at least one
   * @return "did you mean 'x'?" for a near one, else "the nearest is 'x'"
   */
  public static String hint(String word, Collection<String> known) {
    String normal = word.toLowerCase(Locale.ROOT).replace('-', '_');
    String nearest =
        known.stream()
            .min(
                Comparator.<String>comparingInt(candidate -> distance(normal, candidate))
                    .thenComparing(Comparator.naturalOrder()))
            .orElseThrow();
    boolean likely = distance(normal, nearest) <= Math.max(2, word.length() / 3);
    return likely ? "did you mean '" + nearest + "'?" : "the nearest is '" + nearest + "'";
  }

  /** Edit distance with insertions, deletions, substitutions and swaps of neighbours. */
  static int distance(String a, String b) {
    int[][] cost = new int[a.length() + 1][b.length() + 1];
    for (int i = 0; i <= a.length(); i++) {
      for (int j = 0; j <= b.length(); j++) {
        if (i == 0 || j == 0) {
          cost[i][j] = i + j;
          continue;
        }
        int substitution = a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1;
        int best =
            Math.min(
                Math.min(cost[i - 1][j], cost[i][j - 1]) + 1, cost[i - 1][j - 1] + substitution);
        if (i > 1
            && j > 1
            && a.charAt(i - 1) == b.charAt(j - 2)
            && a.charAt(i - 2) == b.charAt(j - 1)) {
          best = Math.min(best, cost[i - 2][j - 2] + 1);
        }
        cost[i][j] = best;
      }
    }
    return cost[a.length()][b.length()];
  }
}
