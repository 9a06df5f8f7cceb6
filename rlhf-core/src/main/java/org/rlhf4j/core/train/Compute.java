package org.rlhf4j.core.train;

import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Ops;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * A device with the type that is computed in.
 *
 * @param torch closed with this
 * @param type fp32 or bf16
 */
public record Compute(Torch torch, ElementType type) implements AutoCloseable {
  private static final int ROWS = 512;
  private static final int INNER = 576;
  private static final int COLUMNS = 1536;

  /**
   * Opens a device.
   *
   * @param deviceName auto, cpu, cuda or cuda:n
   * @param dtype auto takes bf16 where this machine multiplies matrices faster in it
   */
  public static Compute open(String deviceName, DtypeChoice dtype) {
    Torch torch = Torch.open(deviceName);
    ElementType type =
        switch (dtype) {
          case FP32 -> ElementType.FP32;
          case BF16 -> ElementType.BF16;
          case AUTO -> faster(torch);
        };
    return new Compute(torch, type);
  }

  private static ElementType faster(Torch torch) {
    if (!torch.isCpu()) {
      return ElementType.BF16;
    }
    double fp32 = productRate(torch, ElementType.FP32, 4);
    double bf16 = productRate(torch, ElementType.BF16, 4);
    return bf16 > fp32 ? ElementType.BF16 : ElementType.FP32;
  }

  /**
   * The rate of matrix products on a device, in floating-point operations per second: the best of a
   * few trials.
   */
  public static double productRate(Torch torch, ElementType type, int trials) {
    try (TensorScope scope = torch.scope()) {
      float[] left = new float[ROWS * INNER];
      float[] right = new float[COLUMNS * INNER];
      for (int i = 0; i < left.length; i++) {
        left[i] = (i * 31 % 97) / 97f - 0.5f;
      }
      for (int i = 0; i < right.length; i++) {
        right[i] = (i * 37 % 89) / 89f - 0.5f;
      }
      Ops ops = torch.ops();
      Tensor a = ops.convert(scope, scope.of(left, ROWS, INNER), type);
      Tensor b = ops.convert(scope, scope.of(right, COLUMNS, INNER), type);
      double best = 0;
      int repeats = 4;
      ops.products(scope, a, b, 1);
      for (int trial = 0; trial < trials; trial++) {
        long start = System.nanoTime();
        ops.products(scope, a, b, repeats);
        double seconds = (System.nanoTime() - start) / 1e9;
        best = Math.max(best, 2.0 * repeats * ROWS * INNER * COLUMNS / seconds);
      }
      return best;
    }
  }

  /** {@code fp32} or {@code bf16}. */
  public String dtypeName() {
    return type == ElementType.BF16 ? "bf16" : "fp32";
  }

  @Override
  public void close() {
    torch.close();
  }
}
