package org.rlhf4j.core.generate;

import java.util.Map;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Kernels;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/** Picks the next token of each row from its logits. */
public final class Sampler implements AutoCloseable {
  /**
   * The largest uniform that is used. Scaled by a cumulated probability in fp32, a larger one could
   * round up to it and pick a token of probability 0.
   */
  private static final float LARGEST_UNIFORM = 1 - 0x1p-22f;

  private static final ElementType[] PICKED = {ElementType.INT64, ElementType.FP32};

  private final Kernels kernels;
  private final SamplingConfig config;

  /** A sampler for one way of picking. */
  public Sampler(Torch torch, SamplingConfig config) {
    this.kernels = Kernels.load(torch, "/org/rlhf4j/core/generate/sampler.torch", Map.of());
    this.config = config;
  }

  /**
   * What applies to some rows only.
   *
   * @param seen {@code [rows, vocabulary]}, 1 for the tokens of each row's context; any tensor
   *     where there is no repetition penalty
   * @param banned flat places of {@code [rows, vocabulary]} that must not be picked
   */
  public record Constraints(Tensor seen, long[] banned) {}

  /**
   * Tokens {@code [rows]} and their log-probabilities {@code [rows]}.
   *
   * @param tokens int64, on the device
   * @param logProbs fp32, on the device
   */
  public record Picked(Tensor tokens, Tensor logProbs) {}

  /**
   * Picks one token for each row.
   *
   * @param logits fp32 {@code [rows, vocabulary]}, changed
   * @param uniforms one for each row, in [0, 1); not used by greedy decoding
   */
  public Picked pick(TensorScope scope, Tensor logits, Constraints constraints, float[] uniforms) {
    Tensor[] picked;
    if (config.doSample()) {
      Tensor processed = process(scope, logits, constraints);
      float[] bounded = uniforms.clone();
      for (int i = 0; i < bounded.length; i++) {
        bounded[i] = Math.min(bounded[i], LARGEST_UNIFORM);
      }
      picked =
          kernels.callList(scope, PICKED, "draw", processed, scope.of(bounded, bounded.length));
    } else {
      Tensor own = kernels.call(scope, ElementType.FP32, "copy", logits);
      picked = kernels.callList(scope, PICKED, "best", punish(scope, logits, constraints), own);
    }
    return new Picked(picked[0], picked[1]);
  }

  /** The logits after all penalties, bans and filters, in the order of the field's tools. */
  Tensor process(TensorScope scope, Tensor logits, Constraints constraints) {
    return kernels.call(
        scope,
        ElementType.FP32,
        "narrow",
        punish(scope, logits, constraints),
        config.temperature(),
        config.topK(),
        config.topP(),
        config.minP());
  }

  private Tensor punish(TensorScope scope, Tensor logits, Constraints constraints) {
    long[] banned = constraints.banned();
    return kernels.call(
        scope,
        ElementType.FP32,
        "punish",
        logits,
        constraints.seen(),
        config.repetitionPenalty(),
        scope.of(banned, banned.length));
  }

  /** Some rows of a tensor, in a given order. */
  Tensor rows(TensorScope scope, Tensor tensor, int[] rows) {
    return kernels.call(scope, tensor.type(), "rows", tensor, scope.of(rows, rows.length));
  }

  /** Marks one token of each row as seen. */
  void mark(Tensor seen, Tensor tokens) {
    kernels.callInPlace("mark", seen, tokens);
  }

  /** Marks flat places of {@code [rows, vocabulary]} as seen. */
  void markAll(TensorScope scope, Tensor seen, long[] places) {
    kernels.callInPlace("mark_all", seen, scope.of(places, places.length));
  }

  @Override
  public void close() {
    kernels.close();
  }
}
