package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.torch.Tensor;

/**
 * Where a model's parts take their weights from: the model's own, or copies that are trained while
 * the model's own stay as they are.
 *
 * @param base all weights of the model, or of the model that it shares weights with
 * @param adapter null for a model without
 * @param copies null for a model without
 */
record WeightPlaces(Weights base, Adapter adapter, Copies copies) {
  private static final int FROZEN = -1;

  /** Without copies. */
  WeightPlaces(Weights base, Adapter adapter) {
    this(base, adapter, null);
  }

  /**
   * Trained copies of some of a frozen model's weights, for a model that shares the others.
   *
   * @param weights the copies
   * @param parameters of the model that they make; those that it shares stand where they stand
   *     among the frozen model's
   * @param places for each of these parameters, the place of its copy, or -1
   * @param stored the values of the shared parameters before they were rounded to the type that is
   *     computed with
   */
  record Copies(
      Weights weights, List<ParameterSpec> parameters, int[] places, Weights.Source stored) {}

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
    if (copies != null) {
      return copies.weights();
    }
    return adapter == null ? base : adapter.weights();
  }

  /** The parameters of the model, those of an adapter aside. */
  List<ParameterSpec> parameters() {
    return copies == null ? base.parameters() : copies.parameters();
  }

  /** The parameters as a checkpoint stores them. */
  List<TensorSource> sources(StoredType stored) {
    if (copies == null) {
      return base.sources(stored);
    }
    List<TensorSource> sources = new ArrayList<>();
    for (int i = 0; i < parameters().size(); i++) {
      ParameterSpec parameter = parameters().get(i);
      sources.add(
          copies.places()[i] != FROZEN
              ? copies.weights().source(copies.places()[i], stored)
              : TensorSource.floats(
                  parameter.name(),
                  stored,
                  parameter.shape(),
                  (from, target) -> copies.stored().fill(parameter, from, target)));
    }
    return sources;
  }

  /** How many parameters there are. */
  ModelSize size() {
    long own = count(parameters());
    if (adapter != null) {
      long added = count(adapter.weights().parameters());
      return new ModelSize(own + added, added);
    }
    return new ModelSize(own, copies == null ? own : count(copies.weights().parameters()));
  }

  private static long count(List<ParameterSpec> parameters) {
    return parameters.stream().mapToLong(ParameterSpec::elements).sum();
  }

  /** Neighbouring parameters of the model. */
  Place at(int from, int count) {
    if (copies != null) {
      int copy = copies.places()[from];
      return copy == FROZEN ? frozen(tensor(base, from, count)) : of(copies.weights(), copy, count);
    }
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
