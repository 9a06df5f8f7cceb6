package org.rlhf4j.reward;

import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.train.RewardFunction;

/**
 * A reward function that is not waited for forever. It is called in a thread of its own, always the
 * same one; where the time is over that thread is interrupted and left behind, and does not keep
 * the process alive.
 */
public final class TimedReward implements RewardFunction, AutoCloseable {
  private final RewardFunction function;
  private final double seconds;
  private final ExecutorService thread;

  /**
   * Wraps a function.
   *
   * @param seconds for one call, above 0
   */
  public TimedReward(RewardFunction function, double seconds) {
    this.function = function;
    this.seconds = seconds;
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
   */
  @Override
  public double[] rewards(List<Completion> completions) {
    Future<double[]> answer = thread.submit(() -> function.rewards(completions));
    try {
      return answer.get(Math.round(seconds * 1e9), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      answer.cancel(true);
      throw RlhfException.environment(
          ("the reward function gave no answer within %s s (reward_timeout_s) for %d responses, the"
                  + " first of them %s")
              .formatted(Format.number(seconds), completions.size(), completions.get(0).place()),
          e);
    } catch (InterruptedException e) {
      answer.cancel(true);
      Thread.currentThread().interrupt();
      throw RlhfException.environment("interrupted while waiting for the reward function", e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof Error error) {
        throw error;
      } else if (e.getCause() instanceof RuntimeException failure) {
        throw failure;
      }
      throw new IllegalStateException("a reward function throws no checked exception", e);
    }
  }

  @Override
  public void close() {
    thread.shutdownNow();
  }
}
