package org.rlhf4j.cli;

import org.rlhf4j.cli.quickstart.Demo;
import org.rlhf4j.core.ExitCode;

/** {@code demo}: experiments in the toy world of the quick start. */
record DemoVerb() implements Verb<Demo.DemoConfig> {
  @Override
  public String name() {
    return "demo";
  }

  @Override
  public String summary() {
    return "Experiments on the small story model: over-optimisation, ppo-ablations.";
  }

  @Override
  public String example() {
    return "demo over-optimisation";
  }

  @Override
  public Class<Demo.DemoConfig> config() {
    return Demo.DemoConfig.class;
  }

  @Override
  public String bareKey() {
    return "demo";
  }

  @Override
  public boolean stopsOnSignal() {
    return true;
  }

  @Override
  public ExitCode run(Demo.DemoConfig config, Session session) {
    QuickStartVerb.computeOnOneThread();
    Demo.run(config, session.runContext(), Main.class);
    return session.stop().exitCode();
  }
}
