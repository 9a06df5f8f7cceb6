package org.rlhf4j.core.torch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(300)
class SideBySideTest {
  private static final List<Integer> TEN = IntStream.range(0, 10).boxed().toList();

  private Torch torch;
  private int before;

  @BeforeEach
  void open() {
    torch = Torch.open("cpu");
    before = torch.threads();
  }

  @AfterEach
  void close() {
    torch.setThreads(before);
    torch.close();
  }

  private static List<Integer> squares(List<Integer> items) {
    return items.stream().map(item -> item * item).toList();
  }

  @Test
  void resultsComeInTheOrderOfTheItemsWhateverPieceMadeThem() {
    for (int threads : new int[] {1, 2, 3, 7, 16}) {
      torch.setThreads(threads);
      assertEquals(squares(TEN), torch.sideBySide(TEN, 1000, SideBySideTest::squares));
      assertEquals(threads, torch.threads());
    }
  }

  /** All pieces must have begun before any of them goes on. */
  @Test
  void piecesRunAtTheSameTimeOnTheirShareOfTheThreads() {
    torch.setThreads(6);
    CountDownLatch begun = new CountDownLatch(3);
    Set<Thread> threads = ConcurrentHashMap.newKeySet();
    Set<Integer> shares = ConcurrentHashMap.newKeySet();
    torch.sideBySide(
        List.of(1, 2, 3),
        1000,
        items -> {
          threads.add(Thread.currentThread());
          shares.add(torch.threads());
          begun.countDown();
          try {
            begun.await();
          } catch (InterruptedException e) {
            throw new IllegalStateException(e);
          }
          return items;
        });
    assertEquals(3, threads.size());
    assertEquals(Set.of(2), shares);
    assertEquals(6, torch.threads());
  }

  @Test
  void littleWorkIsNotCut() {
    torch.setThreads(4);
    AtomicInteger calls = new AtomicInteger();
    torch.sideBySide(
        TEN,
        15,
        items -> {
          calls.incrementAndGet();
          assertEquals(4, torch.threads());
          return items;
        });
    assertEquals(1, calls.get());
  }

  /** Else memory would be freed under the pieces that are still running. */
  @Test
  void aFailureIsThrownWhenNothingIsRunningAnyMore() {
    torch.setThreads(2);
    IllegalStateException mine = new IllegalStateException("mine");
    CountDownLatch failed = new CountDownLatch(1);
    AtomicInteger done = new AtomicInteger();
    IllegalStateException found =
        assertThrows(
            IllegalStateException.class,
            () ->
                torch.sideBySide(
                    TEN,
                    1000,
                    items -> {
                      if (items.get(0) == 0) {
                        failed.countDown();
                        throw mine;
                      }
                      try {
                        failed.await();
                        Thread.sleep(200);
                      } catch (InterruptedException e) {
                        throw new IllegalStateException(e);
                      }
                      done.incrementAndGet();
                      return items;
                    }));
    assertSame(mine, found);
    assertEquals(1, done.get());
  }
}
