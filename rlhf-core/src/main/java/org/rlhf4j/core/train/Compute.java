package org.rlhf4j.core.train;

import java.util.Locale;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Products;
import org.rlhf4j.core.torch.Torch;

/**
 * A device with the type that is computed in.
 *
 * @param torch closed with this
 * @param type fp32 or bf16
 * @param reason why this type, in words
 */
public record Compute(Torch torch, ElementType type, String reason) implements AutoCloseable {
  /** What DJL reads when it loads PyTorch; the command line's {@code --threads} sets it. */
  private static final String THREADS_PROPERTY = "ai.djl.pytorch.num_threads";

  private static final double GIGA = 1e9;

  /**
   * Opens a device.
   *
   * @param deviceName auto, cpu, cuda or cuda:n
   * @param dtype auto takes bf16 where this machine multiplies matrices faster in it
   */
  public static Compute open(String deviceName, DtypeChoice dtype) {
    Torch torch = Torch.open(deviceName);
    return switch (dtype) {
      case FP32 -> new Compute(torch, ElementType.FP32, "as asked for");
      case BF16 -> new Compute(torch, ElementType.BF16, "as asked for");
      case AUTO -> faster(torch);
    };
  }

  /**
   * Opens a device for a run that goes on, with the choices that it was started with.
   *
   * @throws RlhfException where other threads are asked for, or its device is not there
   */
  static Compute again(String deviceName, TrainingPosition.Numerics before, Console console) {
    Products products = before.products();
    Torch torch = Torch.open(deviceName, products);
    String device = torch.deviceName();
    if (!device.equals(before.device())) {
      torch.close();
      console.line(
          "computing on %s, as the run was started, not on %s".formatted(before.device(), device));
      torch = Torch.open(before.device(), products);
    }
    int now = torch.threads();
    if (now != before.threads()) {
      if (Integer.valueOf(now).equals(Integer.getInteger(THREADS_PROPERTY))) {
        torch.close();
        throw otherThreads(before.threads(), now);
      }
      console.line(
          "computing with %d threads, as the run was started, not with %d"
              .formatted(before.threads(), now));
      torch.setThreads(before.threads());
    }
    ElementType type = before.dtype().equals("bf16") ? ElementType.BF16 : ElementType.FP32;
    return new Compute(torch, type, before.dtypeReason());
  }

  /**
   * Looks, without PyTorch, whether other threads are asked for than a run was started with.
   *
   * @throws RlhfException where they are
   */
  static void requireThreads(TrainingPosition.Numerics before) {
    Integer asked = Integer.getInteger(THREADS_PROPERTY);
    if (asked != null && asked != before.threads()) {
      throw otherThreads(before.threads(), asked);
    }
  }

  private static RlhfException otherThreads(int before, int now) {
    return RlhfException.config(
        "threads: the run was started with %d, it cannot go on with %d: the last bits of sums"
                .formatted(before, now)
            + " depend on it");
  }

  private static Compute faster(Torch torch) {
    if (!torch.isCpu()) {
      return new Compute(torch, ElementType.BF16, "auto: on a GPU");
    }
    double fp32 = Products.rate(torch, ElementType.FP32, 4);
    double bf16 = Products.rate(torch, ElementType.BF16, 4);
    return new Compute(
        torch,
        bf16 > fp32 ? ElementType.BF16 : ElementType.FP32,
        String.format(
            Locale.ROOT, "auto: measured fp32 %.1f, bf16 %.1f GFLOP/s", fp32 / GIGA, bf16 / GIGA));
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
