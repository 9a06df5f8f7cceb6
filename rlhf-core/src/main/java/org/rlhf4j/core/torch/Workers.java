package org.rlhf4j.core.torch;

import ai.djl.pytorch.jni.JniUtils;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Supplier;

/**
 * Runs independent pieces of work side by side, each with its share of the processor's threads.
 * Small operations gain little from a second thread, since whatever stands between them is done by
 * one; two pieces on a thread each gain nearly all of it.
 */
final class Workers implements AutoCloseable {
  private final ExecutorService threads =
      Executors.newCachedThreadPool(
          work -> {
            Thread made = new Thread(work, "torch-worker");
            made.setDaemon(true);
            return made;
          });

  /**
   * Runs all pieces, and waits until none is running, also where one fails: memory that they use
   * may be freed afterwards.
   *
   * @param share threads of each piece
   * @return their results, in order
   */
  <T> List<T> run(List<Supplier<T>> pieces, int share) {
    int whole = JniUtils.getNumThreads();
    List<Future<T>> running = new ArrayList<>();
    for (Supplier<T> piece : pieces) {
      running.add(
          threads.submit(
              () -> {
                // OpenMP's and MKL's numbers of threads are those of the calling thread.
                JniUtils.setNumThreads(share);
                return piece.get();
              }));
    }
    List<T> results = new ArrayList<>();
    Throwable failure = null;
    boolean interrupted = false;
    for (Future<T> one : running) {
      while (true) {
        try {
          results.add(one.get());
          break;
        } catch (InterruptedException e) {
          interrupted = true;
        } catch (ExecutionException e) {
          failure = failure == null ? e.getCause() : failure;
          break;
        }
      }
    }
    // What threads that are new to PyTorch start with was changed too.
    JniUtils.setNumThreads(whole);
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    if (failure instanceof Error error) {
      throw error;
    } else if (failure instanceof RuntimeException exception) {
      throw exception;
    } else if (failure != null) {
      throw new IllegalStateException("a supplier throws no checked exception", failure);
    }
    return results;
  }

  @Override
  public void close() {
    threads.shutdownNow();
  }
}
