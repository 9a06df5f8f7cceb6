package org.rlhf4j.core.report;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * {@code README.md} of a saved model: how it was made and how to load it. States only what it is
 * given.
 *
 * @param name the model's name, as the last part of {@code output_dir}
 * @param method the verb that made it: {@code sft}, {@code reward} or {@code raft}
 * @param version the library's version
 * @param baseModel the start model as it was named
 * @param sequenceClassification whether the folder holds a reward model, else a causal LM
 * @param data one entry per data file
 * @param config the merged configuration
 * @param metrics the last figures by metric name
 */
public record ModelCard(
    String name,
    String method,
    String version,
    String baseModel,
    boolean sequenceClassification,
    List<Provenance.DataFile> data,
    Map<String, ?> config,
    Map<String, ?> metrics) {
  /** The file's name within {@code output_dir}. */
  public static final String FILE_NAME = "README.md";

  /** The card's Markdown. */
  public String render() {
    throw new UnsupportedOperationException();
  }

  /** Writes {@code README.md} into the folder. */
  public void write(Path outputDir) {
    throw new UnsupportedOperationException();
  }
}
