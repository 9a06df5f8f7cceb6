package org.rlhf4j.core.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.text.Template;

/**
 * In which form a reward model saw its texts in training, and wants them ever after.
 *
 * @param appendEos whether each ended with the end token
 * @param template what rendered messages or rewrote dialogues
 */
public record TextForm(boolean appendEos, Template template) {
  /** What the run that made a folder left in it. */
  private static final String FILE_NAME = "config.yaml";

  /** Where a folder says it. */
  public static Path file(Path folder) {
    return folder.resolve(FILE_NAME);
  }

  /**
   * What the {@code config.yaml} of a folder says; for a folder without one, and for keys that it
   * does not have, no end token and the model's own template.
   *
   * @throws RlhfException if the file cannot be read, or has another value
   */
  public static TextForm of(Path folder) {
    Path file = file(folder);
    YAMLMapper yaml = new YAMLMapper();
    if (!Files.exists(file)) {
      return new TextForm(false, Template.MODEL);
    }
    JsonNode keys;
    try {
      keys = yaml.readTree(file.toFile());
    } catch (IOException e) {
      throw RlhfException.input(file + ": cannot be read: " + e.getMessage(), e);
    }
    JsonNode appendEos = keys.path("append_eos");
    if (!appendEos.isMissingNode() && !appendEos.isBoolean()) {
      throw RlhfException.input(file + ": append_eos is " + appendEos + ", must be true or false");
    }
    String template = keys.path("template").asText(Template.MODEL.key());
    return new TextForm(
        appendEos.asBoolean(false),
        Arrays.stream(Template.values())
            .filter(known -> known.key().equals(template))
            .findFirst()
            .orElseThrow(
                () -> RlhfException.input(file + ": template " + template + " is not known")));
  }
}
