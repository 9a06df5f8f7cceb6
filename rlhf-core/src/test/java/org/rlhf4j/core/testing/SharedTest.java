package org.rlhf4j.core.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class SharedTest {
  @Test
  void theRepositoryHoldsWhatGuardsTheCore() throws IOException {
    Path gqa = Shared.path("golden/models/llama-gqa");
    assertTrue(gqa.endsWith("rlhf-core/src/test/resources/golden/models/llama-gqa"), "" + gqa);
    assertTrue(Shared.folders("golden/models").size() >= 9);
    assertTrue(Shared.folders("golden/models").contains(gqa));
  }

  /** The golden files are copies; nobody changes one here alone. */
  @Test
  void theRepositorysGoldenFilesAreThoseOutside() throws IOException {
    Path outside = Shared.outside();
    assumeTrue(outside != null && Files.isDirectory(outside), "no shared folder to compare with");
    Path golden = Shared.path("golden/models").getParent();
    try (Stream<Path> files = Files.walk(golden)) {
      List<Path> copies = files.filter(Files::isRegularFile).toList();
      for (Path copy : copies) {
        Path original = outside.resolve("golden").resolve(golden.relativize(copy).toString());
        if (Files.exists(original) && !copy.endsWith("golden/README.md")) {
          assertEquals(-1, Files.mismatch(original, copy), copy.toString());
        }
      }
    }
  }
}
