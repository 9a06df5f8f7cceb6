package org.rlhf4j.cli.quickstart;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Supplier;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.train.StopSignal;

/** Trainings two at a time: each computes on one core. */
final class SideBySide {
  private static final int AT_ONCE = 2;

  private SideBySide() {}

  /**
   * Does all of the work, what comes first in the list first. Where some of it fails the rest is
   * asked to stop, and the failure is thrown once all have ended.
   *
   * @return what each found, in the order of the list; null for what did not begin, since somebody
   *     asked to stop
   */
  static <T> List<T> run(List<Supplier<T>> work, StopSignal stop) {
    List<Callable<T>> calls = new ArrayList<>();
    for (Supplier<T> one : work) {
      calls.add(() -> stop.requested() ? null : stoppingOthers(one, stop));
    }
    ExecutorService threads = Executors.newFixedThreadPool(AT_ONCE);
    try {
      List<T> found = new ArrayList<>();
      for (Future<T> call : threads.invokeAll(calls)) {
        found.add(call.get());
      }
      return found;
    } catch (ExecutionException e) {
      if (e.getCause() instanceof Error error) {
        throw error;
      }
      throw (RuntimeException) e.getCause();
    } catch (InterruptedException e) {
      throw new IllegalStateException("nobody interrupts this thread", e);
    } finally {
      threads.shutdown();
    }
  }

  private static <T> T stoppingOthers(Supplier<T> work, StopSignal stop) {
    boolean done = false;
    try {
      T found = work.get();
      done = true;
      return found;
    } finally {
      if (!done) {
        stop.request(ExitCode.TERMINATED);
      }
    }
  }
}
