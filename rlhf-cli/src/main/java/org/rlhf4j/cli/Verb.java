package org.rlhf4j.cli;

import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.train.Checks;

/**
 * A verb of the command line that reads a configuration record.
 *
 * @param <C> the record; each of its keys is an option
 */
interface Verb<C extends Record> {
  /** The word on the command line. */
  String name();

  /** What it does, in one line. */
  String summary();

  /** A command line that works as it is after those of the verbs before it, for the help. */
  String example();

  /** The record with its keys. */
  Class<C> config();

  /** The key that a bare argument stands for; empty if bare arguments are errors. */
  default String bareKey() {
    return "";
  }

  /**
   * Whether the work polls {@link Session#stop()}. Where it does not, SIGINT and SIGTERM end the
   * process at once.
   */
  default boolean stopsOnSignal() {
    return false;
  }

  /**
   * Looks at what the work would read, without doing it or writing anything. By itself nothing is
   * looked at but the keys, and whether the files that they name are there.
   *
   * @param checks takes what is found; without a fact nothing was looked into
   */
  default void check(C config, Checks checks) {}

  /**
   * Does the work.
   *
   * @return how it ended; failures are exceptions
   */
  ExitCode run(C config, Session session);
}
