package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Ops;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;

/**
 * The sum of a step's gradients in fp32, one for each weight. Accumulation over micro-batches is
 * this sum; nothing is kept on the weights and nothing is zeroed.
 */
public final class Gradients {
  private final Ops ops;
  private final TensorScope scope;
  private final Weights weights;
  private final Tensor[] sums;

  /**
   * An empty sum.
   *
   * @param scope owns the sums: a step's scope
   */
  public Gradients(Ops ops, TensorScope scope, Weights weights) {
    this.ops = ops;
    this.scope = scope;
    this.weights = weights;
    this.sums = new Tensor[weights.all().size()];
  }

  /**
   * Adds the gradients of some weights.
   *
   * @param made the scope that the gradients belong to
   * @param places of the weights, each once
   */
  void add(TensorScope made, List<Integer> places, List<Tensor> gradients) {
    List<Tensor> firsts = new ArrayList<>();
    List<Tensor> earlier = new ArrayList<>();
    List<Tensor> more = new ArrayList<>();
    for (int i = 0; i < places.size(); i++) {
      if (sums[places.get(i)] == null) {
        firsts.add(gradients.get(i));
      } else {
        earlier.add(sums[places.get(i)]);
        more.add(gradients.get(i));
      }
    }
    if (!firsts.isEmpty()) {
      Tensor[] wide = ops.toFp32(made, firsts);
      int next = 0;
      for (int place : places) {
        if (sums[place] == null) {
          sums[place] = scope.keep(wide[next++]);
        }
      }
    }
    if (!more.isEmpty()) {
      ops.addTo(earlier, more);
    }
  }

  /** Adds the gradient of looked-up rows. */
  void addRows(int index, Tensor rows, Tensor gradient) {
    ops.addRows(dense(index), rows, gradient);
  }

  /** The sum at a place, zeros to begin with, for kernels that add to it themselves. */
  Tensor dense(int index) {
    if (sums[index] == null) {
      sums[index] = ops.zerosLike(scope, weights.get(index), ElementType.FP32);
    }
    return sums[index];
  }

  /** All sums in the weights' order. */
  public List<Tensor> all() {
    List<Tensor> all = new ArrayList<>();
    for (int i = 0; i < sums.length; i++) {
      all.add(dense(i));
    }
    return all;
  }
}
