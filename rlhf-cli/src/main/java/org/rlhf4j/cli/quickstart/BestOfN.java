package org.rlhf4j.cli.quickstart;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/**
 * Best-of-n sampling: of n responses to a prompt, the one that the proxy scores highest. What any n
 * would give is estimated from one larger draw, without bias (Nakano et al., 2021, appendix I; Gao
 * et al., 2022).
 */
final class BestOfN {
  private BestOfN() {}

  /** Nats between best-of-n and the policy it draws from: {@code log n - (n - 1) / n}. */
  static double kl(int n) {
    return Math.log(n) - (n - 1.0) / n;
  }

  /**
   * The mean of a value over the prompts, at the response that is the best of n by proxy. With the
   * N responses in the order of their proxies, the i-th of them is the best of {@code C(i-1, n-1)}
   * of all {@code C(N, n)} choices.
   *
   * @param proxies {@code [prompts][N]}
   * @param values {@code [prompts][N]}
   * @param n at most N
   */
  static double expected(List<double[]> proxies, List<double[]> values, int n) {
    double sum = 0;
    for (int prompt = 0; prompt < proxies.size(); prompt++) {
      double[] proxy = proxies.get(prompt);
      Integer[] ascending = new Integer[proxy.length];
      Arrays.setAll(ascending, i -> i);
      Arrays.sort(ascending, Comparator.comparingDouble(i -> proxy[i]));
      double[] shares = shares(proxy.length, n);
      for (int i = 0; i < shares.length; i++) {
        sum += shares[i] * values.get(prompt)[ascending[i]];
      }
    }
    return sum / proxies.size();
  }

  /** How often each of {@code drawn}, worst first, is the best of n of them. */
  static double[] shares(int drawn, int n) {
    double[] shares = new double[drawn];
    double share = (double) n / drawn;
    for (int i = drawn; i >= n; i--) {
      shares[i - 1] = share;
      // C(i-2, n-1) / C(i-1, n-1)
      share *= (double) (i - n) / (i - 1);
    }
    return shares;
  }
}
