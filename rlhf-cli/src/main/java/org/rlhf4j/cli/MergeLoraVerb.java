package org.rlhf4j.cli;

import java.nio.file.Path;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.config.ByteSize;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.SaveDtype;
import org.rlhf4j.core.train.AdapterMerge;

/** {@code merge-lora}: the model of an adapter with the adapter merged into its weights. */
record MergeLoraVerb() implements Verb<MergeLoraVerb.MergeConfig> {
  /** The keys of {@code merge-lora}. */
  record MergeConfig(
      @Key(
              doc = "Folder of an adapter, as use_peft or PEFT leaves it.",
              existing = Key.Existing.MODEL_FOLDER,
              aliases = {"model_path", "adapter_name_or_path"})
          String modelNameOrPath,
      @Key(doc = "New folder for the merged model.") Path outputPath,
      @Key(
              doc = "Numbers that the weights are written in; source: those of the model's files.",
              defaultValue = "source")
          SaveDtype saveDtype,
      @Key(
              doc = "Weights that are larger are split into files of at most this size.",
              defaultValue = "5GB")
          ByteSize maxShardSize) {}

  @Override
  public String name() {
    return "merge-lora";
  }

  @Override
  public String summary() {
    return "Merges an adapter into its model's weights and writes an ordinary model folder.";
  }

  @Override
  public String example() {
    return "merge-lora --model_name_or_path runs/hh-sft-lora --output_path runs/hh-sft-merged";
  }

  @Override
  public Class<MergeConfig> config() {
    return MergeConfig.class;
  }

  @Override
  public ExitCode run(MergeConfig config, Session session) {
    AdapterMerge.run(
        Path.of(config.modelNameOrPath()),
        config.outputPath(),
        new AdapterMerge.Saving(config.saveDtype(), config.maxShardSize().bytes()),
        session.console());
    return ExitCode.DONE;
  }
}
