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

  /** What PPO as in trlX is held to wherever the repository is built. */
  @Test
  void theRepositoryHoldsRollOutsOfTrlx() {
    for (String file :
        List.of(
            "trlx_models/bloom/policy0/model.safetensors",
            "trlx_models/gpt2/policy0/model.safetensors",
            "trlx_ppo/head/rollout_bloom.safetensors",
            "trlx_ppo/head/rollout_dense.safetensors",
            "trlx_ppo/head/rollout_none.safetensors",
            "trlx_ppo/head/rollout_pad_is_eos.safetensors",
            "trlx_ppo/head/rollout_running.safetensors",
            "trlx_ppo/head/rollout_stop.safetensors",
            "trlx_ppo/v0.5.0/rollout_none.safetensors",
            "trlx_ppo/v0.6.0/rollout_none.safetensors")) {
      Path found = Shared.path("golden/algorithms/" + file);
      Path own = Path.of("rlhf-core/src/test/resources/golden/algorithms", file);
      assertTrue(found.endsWith(own), "" + found);
    }
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
