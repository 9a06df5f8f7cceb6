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
  private final ElementType type;
  private final WeightPlaces.Place weight;

  /**
   * A head on one of the weights.
   *
   * @param index the place of {@code [1, hidden]}
   */
  ScoreHead(Torch torch, WeightPlaces weights, int index) {
    this.type = weights.base().type();
    this.weight = weights.at(index, 1);
    this.kernels = Kernels.load(torch, "/org/rlhf4j/core/model/score_head.torch", Map.of());
  }

  /** Scores {@code [rows]} of hidden states {@code [rows, hidden]}. */
  public float[] scores(TensorScope scope, Tensor hidden) {
    return kernels.call(scope, ElementType.FP32, "scores", hidden, weight.tensor()).toFloats();
  }

  /**
   * Turns d loss / d score, {@code [rows]}, into d loss / d hidden, {@code [rows, hidden]}.
   *
   * @param into where the gradient of the head's weight is added, where that is trained
   */
  public Tensor backward(TensorScope scope, Tensor hidden, float[] ofScores, Gradients into) {
    ElementType[] types = {type, ElementType.FP32};
    Tensor[] found =
        kernels.callList(
            scope, types, "gradient", hidden, weight.tensor(), scope.of(ofScores, ofScores.length));
    if (weight.isTrained()) {
      into.add(scope, List.of(weight.first()), List.of(found[1]));
    }
    return found[0];
  }

  @Override
  public void close() {
    kernels.close();
  }
}
