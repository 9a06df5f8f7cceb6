package org.rlhf4j.core.testing;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * Golden files, models and data. The repository holds those that guard the core; the others are
 * kept outside, and a test that asks for one is skipped, visibly, where it is absent.
 */
public final class Shared {
  private static final String SETTING = "RLHF4J_SHARED";

  /** Where the repository holds such files, below its root. */
  private static final List<String> IN_REPOSITORY =
      List.of("rlhf-core/src/test/resources", "examples");

  private Shared() {}

  /**
   * A file or folder, for example {@code golden/models/llama-gqa}: the repository's own, else the
   * one of the folder that the environment variable or system property RLHF4J_SHARED names, else
   * the one of {@code shared} beside or above the working directory. Skips the calling test if
   * there is none.
   */
  public static Path path(String relative) {
    for (Path root : roots()) {
      Path path = root.resolve(relative);
      if (Files.exists(path)) {
        return path;
      }
    }
    assumeTrue(
        false, relative + " is neither in the repository nor in a shared folder; set " + SETTING);
    throw new AssertionError();
  }

  /** All folders directly below one, in all places; of two with one name the repository's. */
  public static Collection<Path> folders(String relative) throws IOException {
    TreeMap<String, Path> found = new TreeMap<>();
    for (Path root : roots()) {
      if (Files.isDirectory(root.resolve(relative))) {
        try (Stream<Path> children = Files.list(root.resolve(relative))) {
          children
              .filter(Files::isDirectory)
              .forEach(child -> found.putIfAbsent(child.getFileName().toString(), child));
        }
      }
    }
    return found.values();
  }

  /** The repository's places first. */
  static List<Path> roots() {
    List<Path> roots = new ArrayList<>();
    for (String place : IN_REPOSITORY) {
      Path root = above(place);
      if (root != null) {
        roots.add(root);
      }
    }
    Path outside = outside();
    if (outside != null) {
      roots.add(outside);
    }
    return roots;
  }

  /** The folder of files that are kept outside the repository; null if there is none. */
  static Path outside() {
    String setting = System.getProperty(SETTING, System.getenv(SETTING));
    if (setting != null) {
      return Path.of(setting);
    }
    Path golden = above("shared/golden");
    return golden == null ? null : golden.getParent();
  }

  private static Path above(String relative) {
    for (Path folder = Path.of("").toAbsolutePath(); folder != null; folder = folder.getParent()) {
      if (Files.isDirectory(folder.resolve(relative))) {
        return folder.resolve(relative);
      }
    }
    return null;
  }
}
