package org.rlhf4j.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.ByteSize;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.model.ModelDelta;
import org.rlhf4j.core.report.Format;

/** {@code delta make | apply}: publishes a fine-tuned model as its difference to a base. */
record DeltaVerb() implements Verb<DeltaVerb.DeltaConfig> {
  /** Which way. */
  enum Action {
    /** Fine-tuned minus base. */
    MAKE,
    /** Base plus delta. */
    APPLY
  }

  /** The keys of {@code delta}. */
  record DeltaConfig(
      @Key(doc = "make: fine-tuned minus base; apply: base plus delta.") Action action,
      @Key(
              doc = "Folder of the base model.",
              existing = Key.Existing.MODEL_FOLDER,
              aliases = {"base_model_path"})
          String baseModelNameOrPath,
      @Key(
              doc = "make: folder of the fine-tuned model; apply: folder of the delta.",
              existing = Key.Existing.MODEL_FOLDER,
              aliases = {"model_path"})
          String modelNameOrPath,
      @Key(doc = "Folder for the delta (make) or the fine-tuned model (apply).") Path outputDir,
      @Key(
              doc = "Weights that are larger are split into files of at most this size.",
              defaultValue = "5GB")
          ByteSize maxShardSize,
      @Key(doc = "Replaces an output_dir that is not empty, as a whole.", defaultValue = "false")
          boolean overwriteOutputDir) {}

  @Override
  public String name() {
    return "delta";
  }

  @Override
  public String summary() {
    return "Writes a fine-tuned model as its difference to a base, or adds the two again.";
  }

  @Override
  public String example() {
    return "delta make --base_model_name_or_path examples/models/tinystories-260k"
        + " --model_name_or_path runs/hh-sft-tiny --output_dir runs/delta";
  }

  @Override
  public Class<DeltaConfig> config() {
    return DeltaConfig.class;
  }

  @Override
  public String bareKey() {
    return "action";
  }

  @Override
  public ExitCode run(DeltaConfig config, Session session) {
    requireOutput(config);
    ModelFolder base = ModelFolder.open(Path.of(config.baseModelNameOrPath()));
    ModelFolder other = ModelFolder.open(Path.of(config.modelNameOrPath()));
    long shardBytes = config.maxShardSize().bytes();
    boolean make = config.action() == Action.MAKE;
    ModelDelta.Result result =
        make
            ? ModelDelta.make(base, other, config.outputDir(), shardBytes)
            : ModelDelta.apply(base, other, config.outputDir(), shardBytes);
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("arithmetic", result.type().configName());
    facts.put("weights", Format.count(result.weights()));
    facts.put("rows the base has not", Format.count(result.paddingRows()));
    if (result.checked()) {
      facts.put(
          make ? "not restored exactly" : "not as before the delta was made",
          "%s, by rounding".formatted(Format.count(result.inexact())));
    }
    facts.put(
        "hashes",
        make
            ? "of base and result in " + ModelDelta.FILE_NAME
            : result.checked()
                ? "of base and result are right"
                : "none: the delta has no " + ModelDelta.FILE_NAME + ", so nothing was checked");
    session.console().facts((make ? "Delta in " : "Model in ") + config.outputDir(), facts);
    return ExitCode.DONE;
  }

  private static void requireOutput(DeltaConfig config) {
    Path output = config.outputDir().toAbsolutePath().normalize();
    for (String input : List.of(config.baseModelNameOrPath(), config.modelNameOrPath())) {
      if (Path.of(input).toAbsolutePath().normalize().startsWith(output)) {
        throw RlhfException.config(
            "output_dir: " + config.outputDir() + " holds " + input + ", which is read");
      }
    }
    Optional<Path> content = first(output);
    if (content.isPresent() && !config.overwriteOutputDir()) {
      throw RlhfException.config(
          "output_dir: "
              + config.outputDir()
              + " is not empty (it has "
              + content.get().getFileName()
              + "); choose another, or replace it with overwrite_output_dir: true");
    }
    if (content.isPresent() && !Files.exists(output.resolve("config.json"))) {
      throw RlhfException.config(
          "overwrite_output_dir: "
              + config.outputDir()
              + " holds no model (it has no config.json), so it is not replaced; choose another"
              + " folder");
    }
  }

  private static Optional<Path> first(Path folder) {
    if (Files.exists(folder) && !Files.isDirectory(folder)) {
      throw RlhfException.environment("output_dir: " + folder + " is a file", null);
    } else if (!Files.exists(folder)) {
      return Optional.empty();
    }
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.sorted().findFirst();
    } catch (IOException e) {
      throw RlhfException.environment("output_dir: " + folder + " cannot be read", e);
    }
  }
}
