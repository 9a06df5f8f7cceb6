package org.rlhf4j.cli;

import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.generate.GenerationConfig;
import org.rlhf4j.core.generate.GenerationRun;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.train.Checks;

/** {@code generate}: responses of a model to a file of prompts. */
record GenerateVerb() implements Verb<GenerationConfig> {
  @Override
  public String name() {
    return "generate";
  }

  @Override
  public String summary() {
    return "Writes a model's responses to a file of prompts.";
  }

  @Override
  public String example() {
    return "generate --model_name_or_path runs/hh-sft-tiny --dataset_path prompts.jsonl"
        + " --output_path responses.jsonl --num_return_sequences 8";
  }

  @Override
  public Class<GenerationConfig> config() {
    return GenerationConfig.class;
  }

  @Override
  public void check(GenerationConfig config, Checks checks) {
    new GenerationRun(config, Console.silent()).check(checks);
  }

  @Override
  public ExitCode run(GenerationConfig config, Session session) {
    new GenerationRun(config, session.console()).run();
    return ExitCode.DONE;
  }
}
