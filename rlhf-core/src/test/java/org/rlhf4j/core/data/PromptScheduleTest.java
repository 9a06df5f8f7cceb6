package org.rlhf4j.core.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PromptScheduleTest {
  @ParameterizedTest
  @CsvSource({"7,3", "7,5", "10,9", "10,10", "4,9", "1,1", "12,4"})
  void everyPromptComesOnceInEveryEpochAndOnceAtMostInARound(int prompts, int perRound) {
    PromptSchedule schedule = new PromptSchedule(prompts, perRound, 5, true);
    int size = Math.min(prompts, perRound);
    int[] visits = new int[prompts];
    for (int round = 0; round < 3 * prompts; round++) {
      int[] chosen = schedule.of(round);
      assertEquals(size, chosen.length);
      assertEquals(size, Arrays.stream(chosen).distinct().count());
      Arrays.stream(chosen).forEach(prompt -> visits[prompt]++);
      // Those of the epoch under way that came already are one ahead. A prompt that came back too
      // early waits, so no other is behind by more than that.
      int most = Arrays.stream(visits).max().orElseThrow();
      int least = Arrays.stream(visits).min().orElseThrow();
      assertTrue(most - least <= 1, Arrays.toString(visits));
    }
  }

  @Test
  void theFilesOrderWithoutShuffling() {
    PromptSchedule schedule = new PromptSchedule(5, 3, 5, false);
    assertArrayEquals(new int[] {0, 1, 2}, schedule.of(0));
    assertArrayEquals(new int[] {3, 4, 0}, schedule.of(1));
    assertArrayEquals(new int[] {1, 2, 3}, schedule.of(2));
    PromptSchedule whole = new PromptSchedule(5, 4, 5, false);
    assertArrayEquals(new int[] {4, 0, 1, 2}, whole.of(1));
    assertArrayEquals(new int[] {3, 4, 0, 1}, whole.of(2));
  }

  @Test
  void aRoundIsTheSameWhateverWasAskedBefore() {
    PromptSchedule inOrder = new PromptSchedule(7, 5, 3, true);
    List<int[]> rounds = new ArrayList<>();
    for (int round = 0; round < 30; round++) {
      rounds.add(inOrder.of(round));
    }
    for (int round : new int[] {29, 3, 3, 4, 0, 17}) {
      assertArrayEquals(rounds.get(round), inOrder.of(round));
      assertArrayEquals(rounds.get(round), new PromptSchedule(7, 5, 3, true).of(round));
    }
  }

  @Test
  void theOrderIsAFunctionOfTheSeedAndTheEpoch() {
    List<int[]> orders = new ArrayList<>();
    for (long seed : new long[] {5, 6}) {
      PromptSchedule schedule = new PromptSchedule(20, 20, seed, true);
      assertArrayEquals(schedule.of(0), schedule.of(0));
      orders.add(schedule.of(0));
      orders.add(schedule.of(1));
    }
    for (int i = 0; i < orders.size(); i++) {
      for (int j = 0; j < i; j++) {
        assertFalse(Arrays.equals(orders.get(i), orders.get(j)));
      }
      int[] sorted = orders.get(i).clone();
      Arrays.sort(sorted);
      assertArrayEquals(IntStream.range(0, 20).toArray(), sorted);
    }
  }
}
