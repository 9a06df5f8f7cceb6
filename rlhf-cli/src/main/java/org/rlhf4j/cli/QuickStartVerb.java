package org.rlhf4j.cli;

import org.rlhf4j.cli.quickstart.QuickStart;
import org.rlhf4j.cli.quickstart.QuickStartConfig;
import org.rlhf4j.core.ExitCode;

/** {@code quickstart}: a whole alignment run on a toy world. */
record QuickStartVerb() implements Verb<QuickStartConfig> {
  private static final String THREADS = "ai.djl.pytorch.num_threads";

  @Override
  public String name() {
    return "quickstart";
  }

  @Override
  public String summary() {
    return "SFT, reward model, RAFT and PPO on a small story model, in under four minutes.";
  }

  @Override
  public String example() {
    return "quickstart --seed 7";
  }

  @Override
  public Class<QuickStartConfig> config() {
    return QuickStartConfig.class;
  }

  @Override
  public boolean stopsOnSignal() {
    return true;
  }

  @Override
  public ExitCode run(QuickStartConfig config, Session session) {
    computeOnOneThread();
    new QuickStart(config, session.runContext()).run();
    return session.stop().exitCode();
  }

  /** Where the user did not say otherwise: 260 thousand parameters are too few to share out. */
  static void computeOnOneThread() {
    if (System.getProperty(THREADS) == null) {
      System.setProperty(THREADS, "1");
    }
  }
}
