package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.TokenBatch.Blind;
import org.rlhf4j.core.model.TokenBatch.PlacedRow;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;

class PlacedRowsTest {
  private static final int[] ROW = {72, 101, 108, 108, 111};
  private static final int[] OTHER = {79, 116, 104};
  private static final int PAD = 3;

  private static PlacedRow placed(int[] row, int firstPlace, Blind blind) {
    int[] ids = Arrays.copyOf(row, row.length - 1);
    return new PlacedRow(ids, Arrays.copyOfRange(row, 1, row.length), firstPlace, blind);
  }

  private static float[] logProbs(CausalLm model, PlacedRow... rows) {
    return model.logProbs(TokenBatch.ofPlaced(List.of(rows)), false).logProbs();
  }

  private static CausalLm load(Torch torch, Path folder) {
    return ModelLoader.causalLm(
        torch, ModelFolder.open(folder), new ModelLoader.Options(ElementType.FP32, false));
  }

  @Test
  void atTheirOwnPlacesTheyAreOrdinaryRows(@TempDir Path temp) throws IOException {
    Path folder = TinyModel.causalLm(temp.resolve("model"), 1);
    try (Torch torch = Torch.open("cpu");
        CausalLm model = load(torch, folder)) {
      TokenBatch ordinary =
          TokenBatch.ofTargets(List.of(TokenRow.allTargets(ROW), TokenRow.allTargets(OTHER)));
      float[] expected = model.logProbs(ordinary, false).logProbs();
      assertArrayEquals(
          expected, logProbs(model, placed(ROW, 0, null), placed(OTHER, 0, null)), 1e-6f);
      // Rotary places are relative.
      assertArrayEquals(
          expected, logProbs(model, placed(ROW, 9, null), placed(OTHER, 2, null)), 1e-5f);
      assertThrows(
          RlhfException.class, () -> logProbs(model, placed(ROW, TinyModel.POSITIONS - 2, null)));
    }
  }

  @Test
  void aBlindTokenIsSeenByNobodyNotEvenByItself(@TempDir Path temp) throws IOException {
    Path folder = TinyModel.causalLm(temp.resolve("model"), 2);
    try (Torch torch = Torch.open("cpu");
        CausalLm model = load(torch, folder)) {
      float[] without = logProbs(model, placed(ROW, 0, null), placed(OTHER, 0, null));
      float[] with = logProbs(model, placed(ROW, 0, new Blind(PAD, 50, 1)), placed(OTHER, 0, null));
      assertEquals(without.length + 1, with.length);
      int blind = ROW.length - 1;
      assertArrayEquals(Arrays.copyOf(without, blind), Arrays.copyOf(with, blind), 1e-6f);
      assertArrayEquals(
          Arrays.copyOfRange(without, blind, without.length),
          Arrays.copyOfRange(with, blind + 1, with.length),
          1e-6f);

      // The row's last token sees itself in its ordinary place, and does not where it is blind.
      int[] longer = Arrays.copyOf(ROW, ROW.length + 1);
      longer[ROW.length] = 50;
      float ordinary = logProbs(model, placed(longer, 0, null))[ROW.length - 1];
      Blind last = new Blind(ROW[ROW.length - 1], 50, ROW.length - 1);
      float unseeing = logProbs(model, placed(ROW, 0, last))[ROW.length - 1];
      assertTrue(Math.abs(ordinary - unseeing) > 1e-4, ordinary + " " + unseeing);
    }
  }

  /** Learned places are absolute: a shifted row is another row. */
  @Test
  void learnedPlacesFollow() {
    Path folder = Shared.path("golden/algorithms/trlx_models/gpt2/policy0");
    int[] row = {5, 6, 7, 8};
    try (Torch torch = Torch.open("cpu");
        CausalLm model = load(torch, folder)) {
      float[] first = logProbs(model, placed(row, 0, null));
      float[] shifted = logProbs(model, placed(row, 1, null));
      // A row in front of it that it does not see changes nothing.
      float[] behind = logProbs(model, placed(OTHER_WORDS, 3, null), placed(row, 1, null));
      assertTrue(Math.abs(first[0] - shifted[0]) > 1e-4);
      assertArrayEquals(shifted, Arrays.copyOfRange(behind, 2, 5), 1e-6f);
    }
  }

  private static final int[] OTHER_WORDS = {9, 10, 11};
}
