package org.rlhf4j.core.model;

import java.util.List;
import java.util.Map;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Kernels;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * The value head of trlX: one number for each hidden state, through {@code Linear(d, 2d)}, ReLU and
 * {@code Linear(2d, 1)}, computed in fp32 whatever the trunk is computed in.
 */
public final class ValueHead implements AutoCloseable {
  private static final List<String> NAMES =
      List.of("v_head.0.weight", "v_head.0.bias", "v_head.2.weight", "v_head.2.bias");

  private final Weights weights;
  private final Kernels kernels;
  private final ElementType type;

  /**
   * A trained head.
   *
   * @param width of the hidden states, d
   * @param type of the hidden states
   * @param source of the values of its parameters, see {@link #fresh}
   */
  public ValueHead(Torch torch, int width, ElementType type, Weights.Source source) {
    this.type = type;
    List<ParameterSpec> parameters =
        List.of(
            ParameterSpec.weight(NAMES.get(0), 2 * width, width),
            ParameterSpec.undecayed(NAMES.get(1), 2L * width),
            ParameterSpec.weight(NAMES.get(2), 1, 2L * width),
            ParameterSpec.undecayed(NAMES.get(3), 1));
    this.weights = new Weights(torch, parameters, source, ElementType.FP32, true);
    this.kernels = Kernels.load(torch, "/org/rlhf4j/core/model/value_head.torch", Map.of());
  }

  /** Values to start training from, as PyTorch draws linear layers: uniform within 1 / sqrt(in). */
  public static Weights.Source fresh(int width, long seed) {
    return (parameter, from, target) -> {
      int number = NAMES.indexOf(parameter.name());
      double bound = 1 / Math.sqrt(number < 2 ? width : 2.0 * width);
      for (long i = from; target.hasRemaining(); i++) {
        double uniform = CounterRandom.uniform(seed, RandomStream.HEAD_INIT, 1, number, i);
        target.put((float) (bound * (2 * uniform - 1)));
      }
    };
  }

  /** Its parameters under trlX's names, in fp32. */
  public Weights weights() {
    return weights;
  }

  /** Values {@code [rows]} of hidden states {@code [rows, hidden]}. */
  public float[] values(TensorScope scope, Tensor hidden) {
    return kernels.call(scope, ElementType.FP32, "values", hidden, weights.all()).toFloats();
  }

  /**
   * Turns d loss / d value, {@code [rows]}, into d loss / d hidden, {@code [rows, hidden]}, in the
   * hidden states' type.
   *
   * @param into where the gradients of the head's weights are added
   */
  public Tensor backward(TensorScope scope, Tensor hidden, float[] ofValues, Gradients into) {
    ElementType fp32 = ElementType.FP32;
    Tensor[] found =
        kernels.callList(
            scope,
            new ElementType[] {type, fp32},
            "gradient",
            hidden,
            weights.all(),
            scope.of(ofValues, ofValues.length));
    into.add(scope, List.of(0, 1, 2, 3), List.of(found).subList(1, found.length));
    return found[0];
  }

  @Override
  public void close() {
    kernels.close();
    weights.close();
  }
}
