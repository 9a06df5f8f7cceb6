package org.rlhf4j.core.torch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.rlhf4j.core.testing.NativeMemory;

/** Products against sums in double, in every way of computing them, from small to large. */
class ProductsTest {
  private static final ElementType[] FP32 = {ElementType.FP32};

  /** Small ones; few rows with a larger matrix; a convolution, once of a rounded number of rows. */
  private static final int[][] SHAPES = {
    {1, 3, 5}, {30, 40, 7}, {90, 300, 120}, {1000, 300, 130}, {1280, 200, 140}
  };

  private static float[] numbers(Random random, int count) {
    float[] numbers = new float[count];
    for (int i = 0; i < count; i++) {
      numbers[i] = random.nextFloat() - 0.5f;
    }
    return numbers;
  }

  /** {@code left [n, k] right^T}, or with {@code right} as {@code [k, m]}. */
  private static float[] product(float[] left, float[] right, int[] nkm, boolean transposed) {
    int k = nkm[1];
    int m = nkm[2];
    float[] result = new float[nkm[0] * m];
    for (int i = 0; i < result.length; i++) {
      double sum = 0;
      for (int j = 0; j < k; j++) {
        int row = i % m;
        sum += (double) left[i / m * k + j] * right[transposed ? j * m + row : row * k + j];
      }
      result[i] = (float) sum;
    }
    return result;
  }

  private static float[] transposed(float[] matrix, int rows, int columns) {
    float[] result = new float[matrix.length];
    for (int i = 0; i < matrix.length; i++) {
      result[i % columns * rows + i / columns] = matrix[i];
    }
    return result;
  }

  @ParameterizedTest
  @CsvSource({"PLAIN, 1", "ONEDNN, 1", "ONEDNN, 2"})
  void productsAndTheirWayBackAreSumsOfProducts(Products products, int threads) {
    try (Torch torch = Torch.open("cpu", products);
        Kernels kernels =
            Kernels.load(torch, "/org/rlhf4j/core/torch/products_test.torch", Map.of());
        TensorScope scope = torch.scope()) {
      assertEquals(products, torch.products());
      int before = torch.threads();
      torch.setThreads(threads);
      try {
        for (int[] shape : SHAPES) {
          isProduct(torch, kernels, scope, shape);
        }
      } finally {
        torch.setThreads(before);
      }
    }
  }

  private static void isProduct(Torch torch, Kernels kernels, TensorScope scope, int[] shape) {
    int rows = shape[0];
    int in = shape[1];
    int out = shape[2];
    Random random = new Random(rows);
    float[] x = numbers(random, rows * in);
    float[] w = numbers(random, out * in);
    float[] bias = numbers(random, out);
    float[] p = numbers(random, rows * out);
    float[] sum = numbers(random, out * in);
    float[] xw = product(x, w, new int[] {rows, in, out}, false);
    float[] withBias = xw.clone();
    for (int i = 0; i < withBias.length; i++) {
      withBias[i] += bias[i % out];
    }
    float[] pw = product(p, w, new int[] {rows, out, in}, true);
    float[] px = product(transposed(p, rows, out), x, new int[] {out, rows, in}, true);
    float[] ofBias = product(transposed(p, rows, out), ones(rows), new int[] {out, rows, 1}, true);

    Tensor givenX = scope.of(x, rows, in);
    Tensor givenW = scope.of(w, out, in);
    Tensor givenBias = scope.of(bias, out);
    Tensor givenP = scope.of(p, rows, out);
    for (Tensor matrix : List.of(givenW, torch.ops().byColumns(scope, givenW))) {
      assertArrayEquals(xw, one(kernels.callList(scope, FP32, "times", givenX, matrix)), 1e-4f);
      assertArrayEquals(
          withBias, one(kernels.callList(scope, FP32, "plus", givenX, matrix, givenBias)), 1e-4f);
    }
    Tensor leafX = torch.ops().leaf(scope, givenX);
    Tensor leafW = torch.ops().leaf(scope, givenW);
    Tensor leafBias = torch.ops().leaf(scope, givenBias);
    for (String function : List.of("plus", "wide")) {
      Tensor recorded = kernels.record(scope, FP32, function, leafX, leafW, leafBias)[0];
      assertArrayEquals(withBias, numbers(torch, scope, recorded), 1e-4f);
      Tensor[] gradients =
          torch
              .ops()
              .gradient(scope, List.of(recorded), List.of(leafX, leafW, leafBias), List.of(givenP));
      assertArrayEquals(pw, numbers(torch, scope, gradients[0]), 1e-4f);
      assertArrayEquals(px, numbers(torch, scope, gradients[1]), 1e-3f);
      assertArrayEquals(ofBias, numbers(torch, scope, gradients[2]), 1e-3f);
    }
    Tensor turned = torch.ops().leaf(scope, scope.of(transposed(w, out, in), in, out));
    Tensor recorded = kernels.record(scope, FP32, "turned", leafX, turned)[0];
    assertArrayEquals(xw, numbers(torch, scope, recorded), 1e-4f);
    Tensor[] gradients =
        torch.ops().gradient(scope, List.of(recorded), List.of(leafX, turned), List.of(givenP));
    assertArrayEquals(pw, numbers(torch, scope, gradients[0]), 1e-4f);
    assertArrayEquals(transposed(px, out, in), numbers(torch, scope, gradients[1]), 1e-3f);

    Tensor added = scope.of(sum, out, in);
    assertArrayEquals(
        pw, one(kernels.callList(scope, FP32, "back", givenP, givenX, givenW, added)), 1e-4f);
    for (int i = 0; i < px.length; i++) {
      px[i] += sum[i];
    }
    assertArrayEquals(px, added.toFloats(), 1e-3f);
    Tensor none = scope.zeros(0);
    assertArrayEquals(
        pw, one(kernels.callList(scope, FP32, "back", givenP, givenX, givenW, none)), 1e-4f);
  }

  private static float[] ones(int count) {
    float[] ones = new float[count];
    Arrays.fill(ones, 1);
    return ones;
  }

  /** Also of tensors that lie in memory in another order. */
  private static float[] numbers(Torch torch, TensorScope scope, Tensor tensor) {
    return torch.ops().joinRows(scope, List.of(tensor)).toFloats();
  }

  private static float[] one(Tensor[] tensors) {
    return tensors[0].toFloats();
  }

  /** Code that is compiled for each number of rows would be kept. */
  @Test
  void manyNumbersOfRowsTakeNoMemory() {
    try (Torch torch = Torch.open("cpu", Products.ONEDNN);
        Kernels kernels =
            Kernels.load(torch, "/org/rlhf4j/core/torch/products_test.torch", Map.of())) {
      NativeMemory.assertStays(
          torch,
          8,
          number -> {
            try (TensorScope scope = torch.scope()) {
              int rows = 900 + number * 37 % 500;
              Tensor x = scope.zeros(rows, 300);
              Tensor w = scope.zeros(130, 300);
              Tensor columns = torch.ops().byColumns(scope, w);
              kernels.callList(scope, FP32, "times", scope.zeros(1 + rows % 128, 300), columns);
              kernels.callList(scope, FP32, "back", scope.zeros(rows, 130), x, w, w);
              Tensor leaf = torch.ops().leaf(scope, w);
              Tensor recorded = kernels.record(scope, FP32, "times", x, leaf)[0];
              torch
                  .ops()
                  .gradient(
                      scope, List.of(recorded), List.of(leaf), List.of(scope.zeros(rows, 130)));
            }
          });
    }
  }

  @ParameterizedTest
  @EnumSource(Products.class)
  void theRateIsThatOfAMachine(Products products) {
    try (Torch torch = Torch.open("cpu", products)) {
      double rate = Products.rate(torch, ElementType.FP32, 1);
      assertEquals(Math.min(Math.max(rate, 1e8), 1e14), rate);
    }
  }
}
