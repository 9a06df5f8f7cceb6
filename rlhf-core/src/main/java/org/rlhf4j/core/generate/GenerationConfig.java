package org.rlhf4j.core.generate;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Completing;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.text.Template;

/**
 * The keys of {@code generate}: responses of a model to a file of prompts. With {@code
 * use_generation_config} a record that is built from keys has the model's settings where a key is
 * not given; one that is made by its constructor gives every key.
 */
public record GenerationConfig(
    @Key(
            heading = "Model, prompts and responses",
            doc = "Folder of the model.",
            existing = Key.Existing.MODEL_FOLDER,
            aliases = {"model_path"})
        String modelNameOrPath,
    @Key(
            doc = "Prompts: .jsonl or .jsonl.gz files, rows with prompt, messages or input_ids.",
            existing = Key.Existing.FILE,
            aliases = {"dataset_name"})
        List<Path> datasetPath,
    @Key(doc = "File for the responses, one row per prompt, .jsonl.") Path outputPath,
    @Key(
            doc = "Responses per prompt.",
            defaultValue = "1",
            atLeast = 1,
            aliases = {"num_generations"})
        int numReturnSequences,
    @Flattened(heading = "Sampling") SamplingConfig sampling,
    @Key(
            doc = "Takes the keys that are not given here from the model's generation_config.json.",
            defaultValue = "false")
        boolean useGenerationConfig,
    @Key(
            heading = "How prompts are read, and computing",
            doc = "Responses that are generated side by side.",
            defaultValue = "64",
            atLeast = 1)
        int batchSize,
    @Key(
            doc = "How messages are written out; model: the model's own chat template.",
            defaultValue = "model")
        Template template,
    @Key(
            doc = "Unusable rows that are left out, counted, before the run refuses to start.",
            defaultValue = "0",
            atLeast = 0)
        int maxBadRows,
    @Key(doc = "Every random choice is a function of it.", defaultValue = "42", atLeast = 0)
        long seed,
    @Key(doc = "Numbers to compute with.", defaultValue = "auto") DtypeChoice dtype,
    @Key(
            doc = "Where to compute; N counts the GPUs from 0.",
            defaultValue = "auto",
            choices = {"auto", "cpu", "cuda", "cuda:N"})
        String device)
    implements Checked, Completing {
  @Override
  public void complete(Defaults defaults) {
    Path path = Path.of(modelNameOrPath);
    // Of a folder that is not there the check of paths tells, and whoever opens it.
    if (!useGenerationConfig || !Files.isDirectory(path)) {
      return;
    }
    ModelFolder folder = ModelFolder.open(path);
    int vocabulary = ModelFamilies.of(folder).spec().vocabularySize();
    ModelGenerationConfig settings = ModelGenerationConfig.of(folder, vocabulary);
    Path file = folder.path().resolve(ModelGenerationConfig.FILE_NAME);
    settings.keys().forEach((key, value) -> defaults.put(key, value, file + ": " + key));
    settings.notTaken().forEach(name -> defaults.warn(file + ": " + name + " is not taken"));
  }

  @Override
  public void check(Problems problems) {
    problems.require(
        sampling.doSample() || numReturnSequences == 1,
        "num_return_sequences "
            + numReturnSequences
            + " needs do_sample true: greedy responses are all the same");
  }
}
