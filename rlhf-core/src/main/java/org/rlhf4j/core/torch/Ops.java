package org.rlhf4j.core.torch;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;

/**
 * The few operations on tensors of any type that the layers above need beside their own kernels.
 */
public final class Ops implements AutoCloseable {
  private static final long FP32_CODE = 6;
  private static final long BF16_CODE = 15;

  private final Kernels kernels;

  Ops(Torch torch) {
    this.kernels = Kernels.load(torch, "/org/rlhf4j/core/torch/tensors.torch", Map.of());
  }

  private static long code(ElementType type) {
    return switch (type) {
      case FP32 -> FP32_CODE;
      case BF16 -> BF16_CODE;
      case INT64 -> throw new IllegalArgumentException("no conversion to int64");
    };
  }

  /** The same numbers in another type; where the type is the same, the same memory. */
  public Tensor convert(TensorScope scope, Tensor tensor, ElementType type) {
    return kernels.call(scope, type, "convert", tensor, code(type));
  }

  /** A tensor whose numbers are not set yet. */
  public Tensor unset(TensorScope scope, ElementType type, long... shape) {
    try (Tensor device = scope.zeros(1)) {
      return kernels.call(scope, type, "unset", device, shape, code(type));
    }
  }

  /** Zeros in the shape of another tensor. */
  public Tensor zerosLike(TensorScope scope, Tensor tensor, ElementType type) {
    return kernels.call(scope, type, "zeros_like", tensor, code(type));
  }

  /** The same memory as a leaf that graphs start from. */
  public Tensor leaf(TensorScope scope, Tensor tensor) {
    return kernels.call(scope, tensor.type(), "leaf", tensor);
  }

  /**
   * A tensor in parts, one below the other, in the same memory.
   *
   * @param rows of each part; together all rows of the tensor
   */
  public Tensor[] splitRows(TensorScope scope, Tensor tensor, long[] rows) {
    return kernels.callList(scope, new ElementType[] {tensor.type()}, "split_rows", tensor, rows);
  }

  /** A copy of a matrix that lies in memory column by column; see {@link Products#ONEDNN}. */
  public Tensor byColumns(TensorScope scope, Tensor matrix) {
    return kernels.call(scope, matrix.type(), "by_columns", matrix);
  }

  /** Rows below each other, the opposite of {@link #splitRows}, in new memory. */
  public Tensor joinRows(TensorScope scope, List<Tensor> parts) {
    return kernels.call(scope, parts.get(0).type(), "join_rows", parts);
  }

  /**
   * Two sums over each tensor, of its elements and of their squares, to 48 bits: numbers that
   * change with the smallest change of an element.
   */
  public float[] fingerprint(TensorScope scope, List<Tensor> tensors) {
    try (Tensor sums = kernels.call(scope, ElementType.FP32, "fingerprint", tensors)) {
      return sums.toFloats();
    }
  }

  /** Writes fp32 numbers into a tensor, from element {@code start} of its flat form. */
  public void fill(TensorScope scope, Tensor tensor, long start, float[] values) {
    try (Tensor run = scope.of(values, values.length)) {
      kernels.callInPlace("fill", tensor, start, run);
    }
  }

  /**
   * As {@link #fill(TensorScope, Tensor, long, float[])}, without a copy in between.
   *
   * @param values fp32 numbers in the machine's byte order, a direct buffer
   */
  public void fill(TensorScope scope, Tensor tensor, long start, ByteBuffer values) {
    try (Tensor run = scope.of(values)) {
      kernels.callInPlace("fill", tensor, start, run);
    }
  }

  /** Reads {@code count} elements from element {@code start} of the flat form, as fp32. */
  public float[] part(TensorScope scope, Tensor tensor, long start, int count) {
    try (Tensor run = kernels.call(scope, ElementType.FP32, "part", tensor, start, (long) count)) {
      return run.toFloats();
    }
  }

  /**
   * The gradients of a recorded graph.
   *
   * @param ofOutputs d loss / d output for each output
   * @return d loss / d input for each input, of the inputs' types and shapes
   * @throws RuntimeException if an input has no part in the outputs
   */
  public Tensor[] gradient(
      TensorScope scope, List<Tensor> outputs, List<Tensor> inputs, List<Tensor> ofOutputs) {
    ElementType[] types = inputs.stream().map(Tensor::type).toArray(ElementType[]::new);
    return kernels.callList(scope, types, "gradient", outputs, inputs, ofOutputs);
  }

  /** Each tensor as fp32; where it already is, the same memory. */
  public Tensor[] toFp32(TensorScope scope, List<Tensor> tensors) {
    return kernels.callList(scope, new ElementType[] {ElementType.FP32}, "to_fp32", tensors);
  }

  /** Adds each tensor to the sum at its place; the sums may be of a wider type. */
  public void addTo(List<Tensor> sums, List<Tensor> tensors) {
    kernels.callInPlace("add_to", sums, tensors);
  }

  /** Adds {@code values [n, width]} to the given rows of {@code table [rows, width]}. */
  public void addRows(Tensor table, Tensor rows, Tensor values) {
    kernels.callInPlace("add_rows", table, rows, values);
  }

  /** The 2-norm of all elements of all tensors together. */
  public float norm(TensorScope scope, List<Tensor> tensors) {
    try (Tensor norm = kernels.call(scope, ElementType.FP32, "norm", tensors)) {
      return norm.item();
    }
  }

  /** The 2-norm of each tensor. */
  public float[] norms(TensorScope scope, List<Tensor> tensors) {
    try (Tensor norms = kernels.call(scope, ElementType.FP32, "norms", tensors)) {
      return norms.toFloats();
    }
  }

  /** Copies each source into the target at its place, converting the type. */
  public void copyEach(List<Tensor> targets, List<Tensor> sources) {
    kernels.callInPlace("copy_each", targets, sources);
  }

  void adamW(Object... arguments) {
    kernels.callInPlace("adamw", arguments);
  }

  /**
   * Computes {@code a b^T} several times, for measuring the machine's rate; returns when it is
   * done.
   */
  public void products(TensorScope scope, Tensor a, Tensor b, int times) {
    try (Tensor last = kernels.call(scope, a.type(), "products", a, b, (long) times)) {
      part(scope, last, 0, 1);
    }
  }

  @Override
  public void close() {
    kernels.close();
  }
}
