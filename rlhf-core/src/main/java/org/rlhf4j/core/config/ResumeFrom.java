package org.rlhf4j.core.config;

import java.nio.file.Path;

/** Where a run starts from. */
public sealed interface ResumeFrom {
  /** A new run. */
  record None() implements ResumeFrom {
    @Override
    public String toString() {
      return Key.NONE;
    }
  }

  /** The newest checkpoint in the output folder; a new run where there is none. */
  record Auto() implements ResumeFrom {
    @Override
    public String toString() {
      return "auto";
    }
  }

  /**
   * A given checkpoint.
   *
   * @param folder the {@code checkpoint-N} folder
   */
  record Checkpoint(Path folder) implements ResumeFrom {
    @Override
    public String toString() {
      return folder.toString();
    }
  }

  /** Reads {@code none}, {@code auto} or a path. */
  static ResumeFrom parse(String text) {
    return switch (text) {
      case Key.NONE -> new None();
      case "auto" -> new Auto();
      default -> new Checkpoint(Path.of(text));
    };
  }
}
