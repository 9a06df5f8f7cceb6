package org.rlhf4j.cli;

import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.reward.RewardServing;
import org.rlhf4j.reward.RewardToken;
import org.rlhf4j.reward.ServeRewardConfig;

/** {@code serve-reward}: a reward model over HTTP, until it is stopped. */
record ServeRewardVerb() implements Verb<ServeRewardConfig> {
  @Override
  public String name() {
    return "serve-reward";
  }

  @Override
  public String summary() {
    return "Answers OpenRLHF's POST /get_reward with a reward model's scores.";
  }

  @Override
  public String example() {
    return "serve-reward --model_name_or_path runs/hh-reward-tiny";
  }

  @Override
  public Class<ServeRewardConfig> config() {
    return ServeRewardConfig.class;
  }

  @Override
  public boolean stopsOnSignal() {
    return true;
  }

  @Override
  public void check(ServeRewardConfig config, Checks checks) {
    new RewardServing(config, RewardToken.fromEnvironment(), Console.silent(), new StopSignal())
        .check(checks);
  }

  @Override
  public ExitCode run(ServeRewardConfig config, Session session) {
    new RewardServing(config, RewardToken.fromEnvironment(), session.console(), session.stop())
        .run();
    return session.stop().exitCode();
  }
}
