package org.rlhf4j.cli.quickstart;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.rlhf4j.core.RlhfException;

/** The folder of a toy world, its own alone. */
final class ToyFolder {
  static final Path RUNS = Path.of("runs");

  private ToyFolder() {}

  /** A folder of this name below another, or with the first number that is free. */
  static Path free(Path runs, String name) {
    Path free = runs.resolve(name);
    for (int number = 2; Files.exists(free); number++) {
      free = runs.resolve(name + "-" + number);
    }
    return free;
  }

  /**
   * Refuses a folder with something in it.
   *
   * @throws RlhfException if it is not empty or cannot be read
   */
  static void requireEmpty(Path folder) {
    if (!Files.isDirectory(folder)) {
      return;
    }
    try (Stream<Path> entries = Files.list(folder)) {
      if (entries.findAny().isPresent()) {
        throw RlhfException.config(
            "output_dir: " + folder + " is not empty; a folder of its own is needed");
      }
    } catch (IOException e) {
      throw RlhfException.environment(folder + ": cannot be read: " + e.getMessage(), e);
    }
  }
}
