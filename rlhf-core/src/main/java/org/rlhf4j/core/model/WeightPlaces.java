package org.rlhf4j.core.model;

import org.rlhf4j.core.torch.Tensor;

/**
 * Where a model's parts take its weights from: the model's own, or the copies that an adapter has.
 *
 * @param base all weights of the model
 * @param adapter null for a model without
 */
record WeightPlaces(Weights base, Adapter adapter) {
  private static final int FROZEN = -1;

  /**
   * A tensor in a kernel's list of weights.
   *
   * @param tensor neighbouring weights as one
   * @param first the place of the first of them among the trained weights, or {@link #FROZEN}
   * @param count how many they are
   */
  record Place(Tensor tensor, int first, int count) {
    /** Whether it has a gradient. */
    boolean isTrained() {
      return first != FROZEN;
    }
  }

  /** The weights that training changes. */
  Weights trained() {
    return adapter == null ? base : adapter.weights();
  }

  /** How many parameters there are. */
  ModelSize size() {
    long own = count(base);
    return adapter == null
        ? new ModelSize(own, own)
        : new ModelSize(own + count(adapter.weights()), count(adapter.weights()));
  }

  private static long count(Weights weights) {
    return weights.parameters().stream().mapToLong(ParameterSpec::elements).sum();
  }

  /** Neighbouring parameters of the model. */
  Place at(int from, int count) {
    int copy = adapter == null ? FROZEN : adapter.layout().whole(from);
    if (copy != FROZEN) {
      return of(adapter.weights(), copy, count);
    }
    return adapter == null ? of(base, from, count) : frozen(tensor(base, from, count));
  }

  /** Neighbouring weights. */
  static Place of(Weights weights, int from, int count) {
    return new Place(tensor(weights, from, count), weights.isTrainable() ? from : FROZEN, count);
  }

  /** A tensor that is not trained. */
  static Place frozen(Tensor tensor) {
    return new Place(tensor, FROZEN, 0);
  }

  private static Tensor tensor(Weights weights, int from, int count) {
    return count == 1 ? weights.get(from) : weights.joined(from, from + count);
  }
}
