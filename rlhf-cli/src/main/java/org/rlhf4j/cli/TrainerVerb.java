package org.rlhf4j.cli;

import java.util.function.BiConsumer;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.RunContext;

/**
 * A verb that trains a model and can be stopped between steps.
 *
 * @param <C> the trainer's configuration
 * @param name the word on the command line
 * @param summary what it does, in one line
 * @param example a command line
 * @param config the record with its keys
 * @param train runs the trainer
 * @param look has the trainer look at what it would read
 */
record TrainerVerb<C extends Record>(
    String name,
    String summary,
    String example,
    Class<C> config,
    BiConsumer<C, RunContext> train,
    BiConsumer<C, Checks> look)
    implements Verb<C> {
  @Override
  public boolean stopsOnSignal() {
    return true;
  }

  @Override
  public void check(C config, Checks checks) {
    look.accept(config, checks);
  }

  @Override
  public ExitCode run(C config, Session session) {
    train.accept(config, session.runContext());
    return session.stop().exitCode();
  }
}
