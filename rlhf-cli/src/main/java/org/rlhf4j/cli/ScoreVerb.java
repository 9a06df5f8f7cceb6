package org.rlhf4j.cli;

import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.generate.ScoreConfig;
import org.rlhf4j.core.generate.ScoringRun;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.train.Checks;

/** {@code score}: log-probabilities or rewards of a file of rows. */
record ScoreVerb() implements Verb<ScoreConfig> {
  @Override
  public String name() {
    return "score";
  }

  @Override
  public String summary() {
    return "Writes a language model's log-probabilities, or a reward model's scores, of rows.";
  }

  @Override
  public String example() {
    return "score --model_name_or_path runs/hh-reward-tiny --dataset_path responses.jsonl"
        + " --output_path scores.jsonl";
  }

  @Override
  public Class<ScoreConfig> config() {
    return ScoreConfig.class;
  }

  @Override
  public void check(ScoreConfig config, Checks checks) {
    new ScoringRun(config, Console.silent()).check(checks);
  }

  @Override
  public ExitCode run(ScoreConfig config, Session session) {
    new ScoringRun(config, session.console()).run();
    return ExitCode.DONE;
  }
}
