package org.rlhf4j.raft;

import java.nio.file.Path;
import java.util.List;
import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;

/**
 * The keys of {@code select}: the best of scored responses as rows for {@code sft}. {@link
 * #scoresPath()} and {@link #modelNameOrPath()} are null where none is set.
 */
public record SelectConfig(
    @Key(
            doc = "Responses: rows as generate writes them, .jsonl or .jsonl.gz.",
            existing = Key.Existing.FILE)
        List<Path> datasetPath,
    @Key(
            doc =
                "Scores: rows with index, sample and score; none: each response has a score of its"
                    + " own.",
            defaultValue = Key.NONE,
            existing = Key.Existing.FILE)
        Path scoresPath,
    @Key(doc = "File for the selected responses, one row each, .jsonl.") Path outputPath,
    @Flattened SelectionConfig best,
    @Key(
            doc =
                "Cleans responses as LMFlow does, before anything else: cut at ###Human, stripped of"
                    + " blanks and #.",
            defaultValue = "false")
        boolean cleanText,
    @Key(doc = "Rows of texts, or of the tokens as they were sampled.", defaultValue = "text")
        RowFormat outputFormat,
    @Key(
            doc =
                "Folder whose tokenizer reads the prompts for output_format tokens, where the rows"
                    + " have no prompt_token_ids.",
            defaultValue = Key.NONE,
            existing = Key.Existing.MODEL_FOLDER)
        String modelNameOrPath)
    implements Checked {
  @Override
  public void check(Problems problems) {
    problems.require(
        !cleanText || outputFormat == RowFormat.TEXT,
        "clean_text true changes texts, output_format tokens writes what was sampled; they exclude"
            + " each other");
    if (outputFormat == RowFormat.TEXT) {
      problems.warnUnused("unless output_format is tokens", "model_name_or_path");
    }
  }
}
