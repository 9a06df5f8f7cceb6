package org.rlhf4j.cli;

import java.nio.file.Path;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.train.ModelInspection;

/** {@code inspect}: what a model folder holds. */
record InspectVerb() implements Verb<InspectVerb.InspectConfig> {
  /** The key of {@code inspect}. */
  record InspectConfig(
      @Key(
              doc = "Folder of a model, or a checkpoint of a run.",
              existing = Key.Existing.MODEL_FOLDER,
              aliases = {"model_path"})
          String modelNameOrPath) {}

  @Override
  public String name() {
    return "inspect";
  }

  @Override
  public String summary() {
    return "Shows what a model folder holds: architecture, parameters, tokenizer, provenance.";
  }

  @Override
  public String example() {
    return "inspect runs/hh-sft-tiny";
  }

  @Override
  public Class<InspectConfig> config() {
    return InspectConfig.class;
  }

  @Override
  public String bareKey() {
    return "model_name_or_path";
  }

  @Override
  public ExitCode run(InspectConfig config, Session session) {
    ModelInspection.of(Path.of(config.modelNameOrPath())).show(session.console());
    return ExitCode.DONE;
  }
}
