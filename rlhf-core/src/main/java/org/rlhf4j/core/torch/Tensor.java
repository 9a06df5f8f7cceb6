package org.rlhf4j.core.torch;

import ai.djl.pytorch.engine.PtNDArray;
import java.util.Arrays;

/**
 * A native tensor of any element type. It belongs to the {@link TensorScope} that made it and dies
 * with it; {@link #close()} frees it earlier.
 *
 * <p>DJL 0.35 knows no bf16: asking such an array for its data type answers "unknown", and passing
 * BFLOAT16 through its native interface aborts the JVM. So the array underneath stays private to
 * this package, and the element type is kept beside it.
 */
public final class Tensor implements AutoCloseable {
  private final PtNDArray array;
  private final ElementType type;

  Tensor(PtNDArray array, ElementType type) {
    this.array = array;
    this.type = type;
  }

  PtNDArray array() {
    return array;
  }

  /** The element type. */
  public ElementType type() {
    return type;
  }

  /** The extents of all axes. */
  public long[] shape() {
    return array.getShape().getShape();
  }

  /** The extent of one axis; negative axes count from the end. */
  public int extent(int axis) {
    long[] shape = shape();
    return Math.toIntExact(shape[axis < 0 ? shape.length + axis : axis]);
  }

  /** The number of elements. */
  public long size() {
    return array.getShape().size();
  }

  /** Copies the elements of an fp32 tensor to the JVM. */
  public float[] toFloats() {
    require(ElementType.FP32);
    return array.toFloatArray();
  }

  /** Copies the elements of an int64 tensor to the JVM. */
  public long[] toLongs() {
    require(ElementType.INT64);
    return array.toLongArray();
  }

  /** The only element of an fp32 tensor. */
  public float item() {
    float[] values = toFloats();
    if (values.length != 1) {
      throw new IllegalStateException(
          "expected one element, found shape " + Arrays.toString(shape()));
    }
    return values[0];
  }

  private void require(ElementType wanted) {
    if (type != wanted) {
      throw new IllegalStateException("expected a tensor of " + wanted + ", found " + type);
    }
  }

  @Override
  public void close() {
    array.close();
  }

  @Override
  public String toString() {
    return "Tensor" + Arrays.toString(shape()) + " " + type;
  }
}
