package org.rlhf4j.reward;

import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.LongSupplier;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.StopSignal;

/**
 * A reward function that is not waited for forever, nor when somebody asks to stop. It is called in
 * a thread of its own, always the same one; where it is waited for no longer that thread is
 * interrupted and left behind, and does not keep the process alive.
 */
public final class TimedReward implements RewardFunction, AutoCloseable {
  /** Nanoseconds between two looks at whether somebody asked to stop. */
  private static final long LOOKS_EVERY = 100_000_000;

  private final RewardFunction function;
  private final double seconds;
  private final StopSignal stop;
  private final LongSupplier nanoTime;
  private final ExecutorService thread;

  /**
   * Wraps a function.
   *
   * @param seconds for one call; 0: no limit
   * @param stop ends the waiting
   */
  public TimedReward(RewardFunction function, double seconds, StopSignal stop) {
    this(function, seconds, stop, System::nanoTime);
  }

  TimedReward(RewardFunction function, double seconds, StopSignal stop, LongSupplier nanoTime) {
    this.function = function;
    this.seconds = seconds;
    this.stop = stop;
    this.nanoTime = nanoTime;
    this.thread =
        Executors.newSingleThreadExecutor(
            work -> {
              Thread made = new Thread(work, "reward-function");
              made.setDaemon(true);
              return made;
            });
  }

  /**
   * Asks the function; what it throws is thrown.
   *
   * @throws RlhfException where the time is over
   * @throws StopSignal.Stopped where somebody asked to stop before the answer came
   */
  @Override
  public double[] rewards(List<Completion> completions) {
    Future<double[]> answer = thread.submit(() -> function.rewards(completions));
    try {
      long end = seconds == 0 ? Long.MAX_VALUE : Math.round(seconds * 1e9);
      long begun = nanoTime.getAsLong();
      while (true) {
        long left = end - (nanoTime.getAsLong() - begun);
        try {
          return answer.get(Math.max(0, Math.min(left, LOOKS_EVERY)), TimeUnit.NANOSECONDS);
        } catch (TimeoutException e) {
          if (left <= LOOKS_EVERY) {
            throw tooLate(completions, e);
          }
          stop.check();
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw RlhfException.environment("interrupted while waiting for the reward function", e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof Error error) {
        throw error;
      } else if (e.getCause() instanceof RuntimeException failure) {
        throw failure;
      }
      throw new IllegalStateException("a reward function throws no checked exception", e);
    } finally {
      answer.cancel(true);
    }
  }

  private RlhfException tooLate(List<Completion> completions, TimeoutException cause) {
    return RlhfException.environment(
        ("the reward function gave no answer within %s s (reward_timeout_s) for %d responses, the"
                + " first of them %s")
            .formatted(Format.number(seconds), completions.size(), completions.get(0).place()),
        cause);
  }

  @Override
  public void close() {
    thread.shutdownNow();
  }
}
