package org.rlhf4j.cli.quickstart;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.train.Compute;

class RandomModelTest {
  @TempDir private Path folder;

  /** 512 words of about the same probability. */
  @Test
  void aModelOfTheSizeFindsAllWordsAlike() {
    Path base = folder.resolve("base");
    StartModel.unpack(base);
    Path random = folder.resolve("random");
    RandomModel.write(base, new RandomModel.Size(3, 32), random);
    try (Compute compute = Compute.open("cpu", DtypeChoice.FP32);
        Storyteller model = Storyteller.open(compute, random)) {
      assertEquals(3, model.model().decoder().spec().layers());
      assertEquals(32, model.model().decoder().spec().embedding().width());
      int[] ids = model.tokenizer().encode("Tom had a dog.");
      double logProb = model.logProbs(List.of(TokenRow.targetsFrom(ids, 1)))[0];
      assertEquals(-Math.log(512) * (ids.length - 1), logProb, 0.2 * ids.length);
    }
  }
}
