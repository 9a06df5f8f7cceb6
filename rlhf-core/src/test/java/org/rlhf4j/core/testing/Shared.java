package org.rlhf4j.core.testing;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Golden files and models that are kept outside the repository. A test that asks for one is
 * skipped, visibly, where the folder is absent.
 */
public final class Shared {
  private static final String SETTING = "RLHF4J_SHARED";

  private Shared() {}

  /**
   * A file or folder below the shared folder, for example {@code golden/models/llama-gqa}. The
   * shared folder is the one that the environment variable or system property RLHF4J_SHARED names,
   * else {@code shared} beside or above the working directory. Skips the calling test if absent.
   */
  public static Path path(String relative) {
    Path root = root();
    assumeTrue(root != null, "no shared folder with golden files; set " + SETTING);
    Path path = root.resolve(relative);
    assumeTrue(Files.exists(path), path + " is absent");
    return path;
  }

  private static Path root() {
    String setting = System.getProperty(SETTING, System.getenv(SETTING));
    if (setting != null) {
      return Path.of(setting);
    }
    for (Path folder = Path.of("").toAbsolutePath(); folder != null; folder = folder.getParent()) {
      Path candidate = folder.resolve("shared");
      if (Files.isDirectory(candidate.resolve("golden"))) {
        return candidate;
      }
    }
    return null;
  }
}
