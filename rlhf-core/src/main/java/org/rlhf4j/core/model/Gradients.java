package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Ops;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * The sum of a step's gradients in fp32, one for each weight. Accumulation over micro-batches is
 * this sum; nothing is kept on the weights and nothing is zeroed.
 */
public final class Gradients {
  /** Weights of 64 MiB of gradients. */
  private static final long MOST_OF_A_PIECE = 1L << 24;

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

  /** Computes some items: adds their gradients, and finds something. */
  @FunctionalInterface
  public interface Piece<T, R> {
    /**
     * Called once for each piece, as {@link Torch#inPieces} says.
     *
     * @param into as in {@link #inPieces}
     */
    R compute(List<T> items, List<Gradients> into);
  }

  /**
   * Computes items in pieces side by side, each with sums of its own, which are then added up in
   * order. Where the weights are so many that these would take much memory, and operations are
   * large anyway, in one piece.
   *
   * @param into one or several sets of weights' sums
   * @param items at least one
   * @param rows of a matrix product on all items
   * @return what the pieces found
   */
  public static <T, R> List<R> inPieces(
      Torch torch, List<Gradients> into, List<T> items, long rows, Piece<T, R> piece) {
    long elements = 0;
    for (Gradients one : into) {
      elements += one.weights.parameters().stream().mapToLong(ParameterSpec::elements).sum();
    }
    if (elements > MOST_OF_A_PIECE) {
      return List.of(piece.compute(items, into));
    }
    record Found<R>(List<Gradients> gradients, R found) {}

    try (TensorScope made = torch.scope()) {
      List<Found<R>> pieces =
          torch.inPieces(
              items,
              rows,
              some -> {
                List<Gradients> own =
                    into.stream().map(one -> new Gradients(one.ops, made, one.weights)).toList();
                return new Found<>(own, piece.compute(some, own));
              });
      for (Found<R> one : pieces) {
        for (int i = 0; i < into.size(); i++) {
          into.get(i).add(made, one.gradients().get(i));
        }
      }
      return pieces.stream().map(Found::found).toList();
    }
  }

  /** Adds another sum of the same weights' gradients, whose tensors belong to {@code made}. */
  private void add(TensorScope made, Gradients other) {
    List<Integer> places = new ArrayList<>();
    List<Tensor> found = new ArrayList<>();
    for (int i = 0; i < sums.length; i++) {
      if (other.sums[i] != null) {
        places.add(i);
        found.add(other.sums[i]);
      }
    }
    add(made, places, found);
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
