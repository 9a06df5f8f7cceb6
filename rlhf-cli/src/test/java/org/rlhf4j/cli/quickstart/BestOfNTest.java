package org.rlhf4j.cli.quickstart;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class BestOfNTest {
  /** log 1 - 0, and by hand log 4 - 3/4. */
  @Test
  void theDistanceHasAClosedForm() {
    assertEquals(0, BestOfN.kl(1));
    assertEquals(0.636294361, BestOfN.kl(4), 1e-9);
  }

  /** Every choice of 3 out of 5, one by one. */
  @Test
  void theEstimateIsTheMeanOverAllChoices() {
    double[] proxy = {0.3, -1, 2, 0.5, 0.1};
    double[] gold = {7, 1, -4, 2, 5};
    double sum = 0;
    int choices = 0;
    for (int a = 0; a < 5; a++) {
      for (int b = a + 1; b < 5; b++) {
        for (int c = b + 1; c < 5; c++) {
          int best = a;
          for (int other : new int[] {b, c}) {
            best = proxy[other] > proxy[best] ? other : best;
          }
          sum += gold[best];
          choices++;
        }
      }
    }
    assertEquals(10, choices);
    assertEquals(sum / 10, BestOfN.expected(List.of(proxy), List.of(gold), 3), 1e-12);
  }

  @Test
  void oneIsTheMeanAndAllIsTheBest() {
    double[] proxy = {1, 3, 2};
    double[] gold = {10, 20, 60};
    assertEquals(30, BestOfN.expected(List.of(proxy), List.of(gold), 1), 1e-12);
    assertEquals(20, BestOfN.expected(List.of(proxy), List.of(gold), 3), 1e-12);
    assertEquals(
        25,
        BestOfN.expected(List.of(proxy, proxy), List.of(gold, new double[] {0, 30, 0}), 3),
        1e-12);
  }

  @Test
  void sharesAreProbabilities() {
    for (int n : new int[] {1, 2, 16, 64}) {
      assertEquals(1, Arrays.stream(BestOfN.shares(64, n)).sum(), 1e-12);
    }
    assertArrayEquals(new double[] {0, 1 / 3.0, 2 / 3.0}, BestOfN.shares(3, 2), 1e-12);
  }
}
