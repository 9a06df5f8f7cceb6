package org.rlhf4j.cli.quickstart;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.List;
import org.rlhf4j.core.checkpoint.AtomicFiles;

/**
 * The pretrained model that comes with the quick start: 260 thousand parameters, trained on the
 * TinyStories data by the llama2.c project.
 */
final class StartModel {
  private static final String FOLDER = "tinystories-260k/";
  private static final List<String> FILES =
      List.of(
          "config.json",
          "generation_config.json",
          "model.safetensors",
          "tokenizer.json",
          "tokenizer_config.json",
          "NOTICE");

  /** The token that llama2.c puts before every story, so the model writes it after one. */
  static final int STORY_START = 1;

  private StartModel() {}

  /** Copies the model's files into a folder. */
  static void unpack(Path folder) {
    for (String name : FILES) {
      try (InputStream packed = StartModel.class.getResourceAsStream(FOLDER + name)) {
        if (packed == null) {
          throw new IllegalStateException(FOLDER + name + " is missing in this build");
        }
        AtomicFiles.write(folder.resolve(name), packed.readAllBytes());
      } catch (IOException e) {
        throw new IllegalStateException(FOLDER + name + " cannot be read", e);
      }
    }
  }
}
