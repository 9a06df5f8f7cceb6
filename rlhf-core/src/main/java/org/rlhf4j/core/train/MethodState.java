package org.rlhf4j.core.train;

import java.nio.file.Path;
import java.util.Map;

/**
 * What a method must know to go on, beside weights, optimizer and step. It is part of every
 * checkpoint and is asked whenever one is written.
 */
@FunctionalInterface
public interface MethodState {
  /** Numbers, texts and booleans for {@code trainer_progress.json}. */
  Map<String, Object> values();

  /** Writes further files into a checkpoint that is being made; by default none. */
  default void writeFiles(Path checkpoint) {}
}
