package org.rlhf4j.cli;

import org.rlhf4j.core.ExitCode;
import org.rlhf4j.raft.SelectConfig;
import org.rlhf4j.raft.SelectionRun;

/** {@code select}: the best of scored responses, for {@code sft}. */
record SelectVerb() implements Verb<SelectConfig> {
  @Override
  public String name() {
    return "select";
  }

  @Override
  public String summary() {
    return "Writes the best of scored responses as rows to train on.";
  }

  @Override
  public String example() {
    return "select --dataset_path responses.jsonl --scores_path scores.jsonl"
        + " --output_path selected.jsonl";
  }

  @Override
  public Class<SelectConfig> config() {
    return SelectConfig.class;
  }

  @Override
  public ExitCode run(SelectConfig config, Session session) {
    new SelectionRun(config, session.console()).run();
    return ExitCode.DONE;
  }
}
