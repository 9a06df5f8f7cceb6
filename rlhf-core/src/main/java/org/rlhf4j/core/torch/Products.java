package org.rlhf4j.core.torch;

import ai.djl.engine.Engine;
import ai.djl.engine.StandardCapabilities;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.Locale;
import java.util.function.LongSupplier;
import org.rlhf4j.core.RlhfException;

/** How products with matrices of weights are computed; what is fastest depends on the machine. */
public enum Products {
  /** By PyTorch's own choice: in fp32 MKL on a processor, cuBLAS on a GPU. */
  PLAIN,

  /**
   * By oneDNN, also in fp32. Where MKL does not use all vector instructions of a processor, as on
   * AMD's with AVX-512, this is about twice as fast; where it does, it is no gain.
   */
  ONEDNN;

  /** MKL's sums and oneDNN's are ordered differently, so it has to be worth it. */
  private static final double CLEARLY_FASTER = 1.3;

  private static final int TRIALS = 3;
  private static final int ROWS = 512;
  private static final int INNER = 576;
  private static final int COLUMNS = 1536;
  private static final int REPEATS = 2;

  /** The kernels' functions of products in TorchScript: {@code product} and others. */
  String resource() {
    return "/org/rlhf4j/core/torch/products_" + name().toLowerCase(Locale.ROOT) + ".torch";
  }

  /** {@code plain} or {@code onednn} to choose instead of measuring. */
  private static final String PROPERTY = "org.rlhf4j.products";

  /**
   * The faster way on a processor, measured in turns, on one thread and by its own time: what else
   * the machine is doing hardly matters, so all processes on a machine choose alike.
   *
   * @throws RlhfException where the system property names no way
   */
  static Products chosen() {
    String property = System.getProperty(PROPERTY, "");
    for (Products products : values()) {
      if (products.name().equalsIgnoreCase(property)) {
        products.requireThere();
        return products;
      }
    }
    if (!property.isEmpty()) {
      throw RlhfException.config(
          "-D%s=%s: allowed are plain and onednn".formatted(PROPERTY, property));
    }
    return measured();
  }

  /**
   * Requires that PyTorch can compute so.
   *
   * @throws RlhfException where it was built without oneDNN
   */
  void requireThere() {
    if (this == ONEDNN && !isOneDnnThere()) {
      throw RlhfException.environment(
          "products: oneDNN is to compute, and this PyTorch was built without it", null);
    }
  }

  private static boolean isOneDnnThere() {
    return Engine.getEngine("PyTorch").hasCapability(StandardCapabilities.MKLDNN);
  }

  private static Products measured() {
    if (!isOneDnnThere()) {
      return PLAIN;
    }
    ThreadMXBean threads = ManagementFactory.getThreadMXBean();
    LongSupplier clock =
        threads.isCurrentThreadCpuTimeSupported()
            ? threads::getCurrentThreadCpuTime
            : System::nanoTime;
    double plain = 0;
    double oneDnn = 0;
    try (Torch one = Torch.open("cpu", PLAIN);
        Torch other = Torch.open("cpu", ONEDNN)) {
      int before = one.threads();
      one.setThreads(1);
      for (int trial = 0; trial < TRIALS; trial++) {
        plain = Math.max(plain, rate(one, ElementType.FP32, 1, clock));
        oneDnn = Math.max(oneDnn, rate(other, ElementType.FP32, 1, clock));
      }
      one.setThreads(before);
    }
    return oneDnn > CLEARLY_FASTER * plain ? ONEDNN : PLAIN;
  }

  /**
   * The rate of matrix products on a device, in floating-point operations per second: the best of a
   * few trials.
   */
  public static double rate(Torch torch, ElementType type, int trials) {
    return rate(torch, type, trials, System::nanoTime);
  }

  private static double rate(Torch torch, ElementType type, int trials, LongSupplier clock) {
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
      ops.products(scope, a, b, 1);
      for (int trial = 0; trial < trials; trial++) {
        long start = clock.getAsLong();
        ops.products(scope, a, b, REPEATS);
        double seconds = (clock.getAsLong() - start) / 1e9;
        best = Math.max(best, 2.0 * REPEATS * ROWS * INNER * COLUMNS / seconds);
      }
      return best;
    }
  }
}
