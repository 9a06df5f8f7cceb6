package org.rlhf4j.cli;

import java.nio.file.Path;
import java.util.function.Consumer;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.generate.GenerationConfig;
import org.rlhf4j.core.generate.GenerationRun;
import org.rlhf4j.core.generate.ModelGenerationConfig;
import org.rlhf4j.core.model.ModelFamilies;

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
  public Class<GenerationConfig> config() {
    return GenerationConfig.class;
  }

  /** Takes the keys that were not given from the model's own generation settings, if asked to. */
  @Override
  public GenerationConfig completed(
      GenerationConfig config, ConfigBuilder<GenerationConfig> builder, Consumer<String> warnings) {
    if (!config.useGenerationConfig()) {
      return config;
    }
    ModelFolder folder = ModelFolder.open(Path.of(config.modelNameOrPath()));
    int vocabulary = ModelFamilies.of(folder).spec().vocabularySize();
    ModelGenerationConfig settings = ModelGenerationConfig.of(folder, vocabulary);
    Path file = folder.path().resolve(ModelGenerationConfig.FILE_NAME);
    settings.keys().forEach((key, value) -> builder.fallback(key, value, file + ": " + key));
    settings.notTaken().forEach(name -> warnings.accept(file + ": " + name + " is not taken"));
    return builder.build();
  }

  @Override
  public ExitCode run(GenerationConfig config, Session session) {
    new GenerationRun(config, session.console()).run();
    return ExitCode.DONE;
  }
}
