package org.rlhf4j.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.rlhf4j.core.train.StopSignal;

@Timeout(300)
class TimedRewardTest {
  private static final List<Completion> TWO =
      List.of(
          new Completion(7, 1, "p", "a", new int[] {1}, new int[] {2}),
          new Completion(7, 2, "p", "b", new int[] {1}, new int[] {3}));

  @Test
  void anAnswerInTimeIsTheFunctionsOwnAndTheThreadIsAlwaysTheSame() {
    List<Thread> threads = new ArrayList<>();
    try (TimedReward reward =
        new TimedReward(
            completions -> {
              threads.add(Thread.currentThread());
              return new double[] {1, 2};
            },
            30,
            new StopSignal(),
            () -> 0)) {
      assertArrayEquals(new double[] {1, 2}, reward.rewards(TWO));
      assertArrayEquals(new double[] {1, 2}, reward.rewards(TWO));
    }
    assertSame(threads.get(0), threads.get(1));
    assertTrue(threads.get(0).isDaemon());
  }

  @Test
  void whatTheFunctionThrowsIsThrown() {
    IllegalStateException mine = new IllegalStateException("mine");
    AssertionError error = new AssertionError("error");
    try (TimedReward reward =
        new TimedReward(
            completions -> {
              if (completions.size() == 2) {
                throw mine;
              }
              throw error;
            },
            30,
            new StopSignal(),
            () -> 0)) {
      assertSame(mine, assertThrows(IllegalStateException.class, () -> reward.rewards(TWO)));
      assertSame(
          error, assertThrows(AssertionError.class, () -> reward.rewards(TWO.subList(0, 1))));
    }
  }

  /** Time passes once the function has begun: else there would be nothing to interrupt. */
  @Test
  void aFunctionThatHangsIsInterruptedAndNamed() throws InterruptedException {
    CountDownLatch begun = new CountDownLatch(1);
    AtomicLong nanos = new AtomicLong();
    CountDownLatch interrupted = new CountDownLatch(1);
    try (TimedReward reward =
        new TimedReward(
            completions -> {
              begun.countDown();
              try {
                new CountDownLatch(1).await();
              } catch (InterruptedException e) {
                interrupted.countDown();
              }
              return new double[2];
            },
            0.25,
            new StopSignal(),
            () -> begun.getCount() == 0 ? nanos.addAndGet(250_000_001) : 0)) {
      RlhfException found = assertThrows(RlhfException.class, () -> reward.rewards(TWO));
      assertEquals(ExitCode.ENVIRONMENT, found.exitCode());
      assertEquals(
          "the reward function gave no answer within 0.25 s (reward_timeout_s) for 2 responses, the"
              + " first of them prompt 7, response 1",
          found.getMessage());
      interrupted.await();
    }
  }

  @Test
  void nobodyWaitsOnceSomebodyAskedToStop() throws InterruptedException {
    CountDownLatch interrupted = new CountDownLatch(1);
    StopSignal stop = new StopSignal();
    try (TimedReward reward =
        new TimedReward(
            completions -> {
              stop.request(ExitCode.TERMINATED);
              try {
                new CountDownLatch(1).await();
              } catch (InterruptedException e) {
                interrupted.countDown();
              }
              return new double[2];
            },
            0,
            stop)) {
      assertThrows(StopSignal.Stopped.class, () -> RewardFunction.checked(reward, TWO));
      interrupted.await();
    }
  }
}
