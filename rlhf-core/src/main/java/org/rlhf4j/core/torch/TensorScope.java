package org.rlhf4j.core.torch;

import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.engine.PtNDManager;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;

/**
 * Owns native memory: every tensor made in a scope is freed when the scope is closed. One scope per
 * training or decoding step, in try-with-resources.
 */
public final class TensorScope implements AutoCloseable {
  private final PtNDManager manager;

  TensorScope(PtNDManager manager) {
    this.manager = manager;
  }

  PtNDManager manager() {
    return manager;
  }

  /** A scope inside this one; closing the outer scope closes it too. */
  public TensorScope child() {
    return new TensorScope((PtNDManager) manager.newSubManager());
  }

  /** A tensor of int64 from the JVM; its size is the product of {@code shape}. */
  public Tensor of(long[] values, long... shape) {
    return new Tensor(
        (PtNDArray) manager.create(LongBuffer.wrap(values), new Shape(shape), DataType.INT64),
        ElementType.INT64);
  }

  /** A tensor of int64 from the JVM's ints. */
  public Tensor of(int[] values, long... shape) {
    long[] wide = new long[values.length];
    for (int i = 0; i < values.length; i++) {
      wide[i] = values[i];
    }
    return of(wide, shape);
  }

  /** A tensor of fp32 from the JVM; its size is the product of {@code shape}. */
  public Tensor of(float[] values, long... shape) {
    return new Tensor(
        (PtNDArray) manager.create(FloatBuffer.wrap(values), new Shape(shape), DataType.FLOAT32),
        ElementType.FP32);
  }

  /**
   * A flat tensor of fp32 on the CPU that shares the buffer's memory; on other devices a copy.
   *
   * @param values numbers in the machine's byte order from the first byte to the limit; direct
   */
  public Tensor of(ByteBuffer values) {
    Shape shape = new Shape(values.limit() / Float.BYTES);
    return new Tensor(
        (PtNDArray) manager.create(values, shape, DataType.FLOAT32), ElementType.FP32);
  }

  /** An fp32 tensor of zeros. */
  public Tensor zeros(long... shape) {
    return new Tensor(
        (PtNDArray) manager.zeros(new Shape(shape), DataType.FLOAT32), ElementType.FP32);
  }

  /** Moves a tensor here, so that it lives as long as this scope. */
  public Tensor keep(Tensor tensor) {
    tensor.array().attach(manager);
    return tensor;
  }

  @Override
  public void close() {
    manager.close();
  }
}
