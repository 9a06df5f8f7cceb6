package org.rlhf4j.core.model;

import java.util.Arrays;
import java.util.List;

/**
 * One trainable tensor of a model.
 *
 * @param name Hugging Face's name, as in the checkpoint file
 * @param dimensions shape, outermost first
 * @param weightDecay whether the optimizer decays it: all but norms and biases
 */
public record ParameterSpec(String name, List<Long> dimensions, boolean weightDecay) {

  /** Copies the dimensions. */
  public ParameterSpec {
    dimensions = List.copyOf(dimensions);
  }

  /** A matrix that weight decay applies to. */
  public static ParameterSpec weight(String name, long... shape) {
    return new ParameterSpec(name, Arrays.stream(shape).boxed().toList(), true);
  }

  /** A norm's scale or a bias: no weight decay. */
  public static ParameterSpec undecayed(String name, long... shape) {
    return new ParameterSpec(name, Arrays.stream(shape).boxed().toList(), false);
  }

  /** The shape as an array of its own. */
  public long[] shape() {
    return dimensions.stream().mapToLong(Long::longValue).toArray();
  }

  /** Number of elements. */
  public long elements() {
    return dimensions.stream().reduce(1L, Math::multiplyExact);
  }
}
