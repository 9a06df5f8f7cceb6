package org.rlhf4j.core.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class BatchPlanTest {
  private static BatchPlan plan(int rows, double epochs, long maxSteps) {
    return BatchPlan.of(
        rows, new BatchPlan.Size(3, 2), epochs, maxSteps, new BatchPlan.Order(7, true));
  }

  private static int[] epoch(BatchPlan plan, int epoch) {
    return IntStream.range(0, (int) plan.stepsPerEpoch())
        .mapToObj(s -> plan.microBatches(epoch * plan.stepsPerEpoch() + s))
        .flatMap(List::stream)
        .flatMapToInt(Arrays::stream)
        .toArray();
  }

  @Test
  void everyEpochVisitsEveryRowOnceInAnOrderOfItsOwn() {
    BatchPlan plan = plan(20, 2, -1);
    int[] first = epoch(plan, 0);
    int[] second = epoch(plan, 1);
    assertFalse(Arrays.equals(first, second));
    for (int[] order : List.of(first, second)) {
      assertArrayEquals(IntStream.range(0, 20).toArray(), Arrays.stream(order).sorted().toArray());
    }
  }

  @Test
  void shortLastBatchIsUsed() {
    BatchPlan plan = plan(20, 1, -1);
    assertEquals(4, plan.totalSteps());
    List<int[]> last = plan.microBatches(3);
    assertEquals(1, last.size());
    assertEquals(2, last.get(0).length);
    assertEquals(1, plan.epochAfter(4));
    assertEquals(0.3, plan.epochAfter(1), 1e-12);
  }

  @Test
  void stepsWinOverEpochsAndFractionsRoundUp() {
    assertEquals(9, plan(20, 1, 9).totalSteps());
    assertEquals(3, plan(20, 0.6, -1).totalSteps());
  }

  @Test
  void withoutShufflingRowsComeAsTheyStand() {
    BatchPlan plan =
        BatchPlan.of(4, new BatchPlan.Size(2, 1), 1, -1, new BatchPlan.Order(7, false));
    assertArrayEquals(new int[] {0, 1}, plan.microBatches(0).get(0));
    assertArrayEquals(new int[] {2, 3}, plan.microBatches(1).get(0));
  }
}
