package org.rlhf4j.core.model;

import java.util.List;
import java.util.Map;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Kernels;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/** The head of a reward model: one number for each hidden state, computed in fp32. */
public final class ScoreHead implements AutoCloseable {
  private final Kernels kernels;
  private final Weights weights;
  private final int index;

  /**
   * A head on one of the weights.
   *
   * @param index the place of {@code [1, hidden]}
   */
  public ScoreHead(Torch torch, Weights weights, int index) {
    this.weights = weights;
    this.index = index;
    this.kernels = Kernels.load(torch, "/org/rlhf4j/core/model/score_head.torch", Map.of());
  }

  /** Scores {@code [rows]} of hidden states {@code [rows, hidden]}. */
  public float[] scores(TensorScope scope, Tensor hidden) {
    return kernels.call(scope, ElementType.FP32, "scores", hidden, weights.get(index)).toFloats();
  }

  /**
   * Turns d loss / d score, {@code [rows]}, into d loss / d hidden, {@code [rows, hidden]}.
   *
   * @param into where the gradient of the head's weight is added
   */
  public Tensor backward(TensorScope scope, Tensor hidden, float[] ofScores, Gradients into) {
    ElementType[] types = {weights.type(), ElementType.FP32};
    Tensor[] found =
        kernels.callList(
            scope,
            types,
            "gradient",
            hidden,
            weights.get(index),
            scope.of(ofScores, ofScores.length));
    into.add(scope, index, List.of(found[1]));
    return found[0];
  }

  @Override
  public void close() {
    kernels.close();
  }
}
