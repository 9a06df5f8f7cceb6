package org.rlhf4j.core.generate;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.Completing;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.data.Overlong;
import org.rlhf4j.core.data.TextForm;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ModelHead;
import org.rlhf4j.core.text.Template;

/**
 * The keys of {@code score}: what a language model or a reward model makes of a file of rows. For a
 * reward model {@code append_eos} and {@code template}, where they are not given, are those that it
 * was trained with ({@link TextForm}).
 */
public record ScoreConfig(
    @Key(
            doc = "Folder of a language model or of a reward model.",
            existing = Key.Existing.MODEL_FOLDER,
            aliases = {"model_path"})
        String modelNameOrPath,
    @Key(
            doc =
                "Rows to score: .jsonl or .jsonl.gz files, rows of any form, those of generate among them.",
            existing = Key.Existing.FILE,
            aliases = {"dataset_name"})
        List<Path> datasetPath,
    @Key(doc = "File for the scores, .jsonl: one row per row that is used, or per response in it.")
        Path outputPath,
    @Key(doc = "Rows that are computed side by side.", defaultValue = "16", atLeast = 1)
        int batchSize,
    @Key(doc = "Longest row in tokens; 0: the model's context.", defaultValue = "0", atLeast = 0)
        int maxLength,
    @Key(doc = "What happens to longer rows; always counted.", defaultValue = "error")
        Overlong overlong,
    @Key(
            doc =
                "Adds the end-of-sequence token where a text does not end with it. A reward model's"
                    + " config.yaml sets another default.",
            defaultValue = "false")
        boolean appendEos,
    @Key(
            doc =
                "How messages are written out; model: the model's own chat template. A reward model's"
                    + " config.yaml sets another default.",
            defaultValue = "model")
        Template template,
    @Key(
            doc = "Unusable rows that are left out, counted, before the run refuses to start.",
            defaultValue = "0",
            atLeast = 0)
        int maxBadRows,
    @Key(doc = "Numbers to compute with.", defaultValue = "auto") DtypeChoice dtype,
    @Key(
            doc = "Where to compute; N counts the GPUs from 0.",
            defaultValue = "auto",
            choices = {"auto", "cpu", "cuda", "cuda:N"})
        String device)
    implements Completing {

  /** A reward model's texts have the form that it was trained on. */
  @Override
  public void complete(Defaults defaults) {
    Path folder = Path.of(modelNameOrPath);
    Path file = TextForm.file(folder);
    if (Files.exists(file)
        && ModelFamilies.of(ModelFolder.open(folder)).head() == ModelHead.SEQUENCE_CLASSIFICATION) {
      TextForm form = TextForm.of(folder);
      defaults.put("append_eos", form.appendEos(), file + ": append_eos");
      defaults.put("template", form.template(), file + ": template");
    }
  }
}
