package org.rlhf4j.core.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ai.djl.engine.EngineException;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.DataType;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.testing.TinyModel;

/** A loss written with DJL's operators takes the same place as one written in plain Java. */
class NDArrayLossTest {
  private static final TokenLoss MEAN =
      TokenLoss.ofNDArrays((logProbs, rows, stepTargets) -> logProbs.sum().div(-stepTargets));

  @Test
  void theMeanIsTheBuiltInOne() {
    float[] logProbs = {-0.5f, -3, -0.01f};
    int[] rows = {0, 0, 1};
    TokenLoss.Result expected = TokenLoss.meanOverTargets().of(logProbs, rows, 7);
    TokenLoss.Result found = MEAN.of(logProbs, rows, 7);
    assertEquals(expected.loss(), found.loss(), 1e-6);
    assertArrayEquals(expected.ofLogProbs(), found.ofLogProbs(), 1e-7f);
  }

  /** The focal loss {@code -(1 - p)^2 log p} of the targets of row 1. */
  @Test
  void aBentLossOfOneRowHasItsDerivativeByHand() {
    TokenLoss focal =
        TokenLoss.ofNDArrays(
            (logProbs, rows, stepTargets) -> {
              NDArray inRow = rows.eq(1).toType(DataType.FLOAT32, false);
              NDArray miss = logProbs.exp().neg().add(1);
              return miss.square().mul(logProbs).mul(inRow).sum().div(-stepTargets);
            });
    float[] logProbs = {-0.5f, -3, -0.01f};
    TokenLoss.Result found = focal.of(logProbs, new int[] {0, 1, 1}, 4);
    double loss = 0;
    float[] derivative = new float[3];
    for (int i = 1; i < 3; i++) {
      double p = Math.exp(logProbs[i]);
      loss -= (1 - p) * (1 - p) * logProbs[i] / 4;
      derivative[i] = (float) ((2 * (1 - p) * p * logProbs[i] - (1 - p) * (1 - p)) / 4);
    }
    assertEquals(loss, found.loss(), 1e-6);
    assertArrayEquals(derivative, found.ofLogProbs(), 1e-6f);
  }

  @Test
  void aModelLearnsTheSameFromIt(@TempDir Path folder) throws IOException {
    Path model = TinyModel.causalLm(folder.resolve("model"), 1);
    TinySteps.Found expected = TinySteps.run("cpu", model, TokenLoss.meanOverTargets());
    TinySteps.Found found = TinySteps.run("cpu", model, MEAN);
    assertArrayEquals(expected.losses(), found.losses(), 1e-6);
    for (int i = 0; i < expected.weights().size(); i++) {
      assertArrayEquals(expected.weights().get(i), found.weights().get(i), 1e-5f);
    }
  }

  @Test
  void whatIsNoLossIsNamed() {
    List<TokenLoss> wrong = new ArrayList<>();
    wrong.add(TokenLoss.ofNDArrays((logProbs, rows, stepTargets) -> logProbs.neg()));
    IllegalArgumentException error =
        assertThrows(
            IllegalArgumentException.class,
            () -> wrong.get(0).of(new float[] {-1, -2}, new int[] {0, 0}, 2));
    assertEquals("a loss is one element, found shape [2]", error.getMessage());
    wrong.add(
        TokenLoss.ofNDArrays((logProbs, rows, stepTargets) -> logProbs.getManager().create(1f)));
    assertThrows(EngineException.class, () -> wrong.get(1).of(new float[] {-1}, new int[] {0}, 2));
  }
}
