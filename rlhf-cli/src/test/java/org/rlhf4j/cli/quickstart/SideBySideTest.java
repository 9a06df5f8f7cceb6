package org.rlhf4j.cli.quickstart;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.train.StopSignal;

class SideBySideTest {
  private final StopSignal stop = new StopSignal();

  /** The first ends after the second: each waits until the other has begun. */
  @Test
  void twoAtATimeInTheOrderOfTheList() {
    CountDownLatch secondEnds = new CountDownLatch(1);
    List<Supplier<String>> work = new ArrayList<>();
    work.add(
        () -> {
          await(secondEnds);
          return "first";
        });
    work.add(
        () -> {
          secondEnds.countDown();
          return "second";
        });
    work.add(() -> "third");
    assertEquals(List.of("first", "second", "third"), SideBySide.run(work, stop));
  }

  /** The second fails once the first has begun: what has not begun would not be stopped. */
  @Test
  void aFailureStopsTheOthersAndIsThrown() {
    IllegalStateException failure = new IllegalStateException("disk full");
    CountDownLatch firstBegan = new CountDownLatch(1);
    List<Boolean> stopped = new ArrayList<>();
    List<Supplier<String>> work = new ArrayList<>();
    work.add(
        () -> {
          firstBegan.countDown();
          while (!stop.requested()) {
            Thread.onSpinWait();
          }
          stopped.add(true);
          return "asked to stop";
        });
    work.add(
        () -> {
          await(firstBegan);
          throw failure;
        });
    work.add(() -> String.valueOf(stopped.add(false)));
    assertSame(failure, assertThrows(RuntimeException.class, () -> SideBySide.run(work, stop)));
    assertEquals(List.of(true), stopped);
  }

  @Test
  void nothingBeginsAfterAStop() {
    stop.request(ExitCode.INTERRUPTED);
    List<Supplier<String>> work = List.of(() -> "one", () -> "two");
    assertEquals(Arrays.asList(null, null), SideBySide.run(work, stop));
    assertTrue(stop.requested());
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
