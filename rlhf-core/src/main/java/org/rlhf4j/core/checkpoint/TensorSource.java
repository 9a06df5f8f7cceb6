package org.rlhf4j.core.checkpoint;

import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.Arrays;
import java.util.List;

/**
 * A tensor that is about to be written. Its values are asked for piece by piece while the file
 * grows, so a model is never in the Java heap as a whole, and fp32 master weights are stored as any
 * type without a copy.
 *
 * @param name the name in the file
 * @param type how the values are stored
 * @param dimensions the shape, outermost first; empty for a scalar
 * @param values where the values come from
 */
public record TensorSource(String name, StoredType type, List<Long> dimensions, Values values) {

  /** Where the values of a tensor come from. */
  public sealed interface Values {}

  /** Values that are floats in memory, whatever type they are stored as. */
  @FunctionalInterface
  public non-sealed interface Floats extends Values {
    /**
     * Fills the whole remaining part of {@code target}.
     *
     * @param from flat index of the first element wanted
     * @param target a heap buffer that has an array; its remaining length is how many elements are
     *     wanted
     */
    void fill(long from, FloatBuffer target);
  }

  /** Values that are longs in memory; stored as I64. */
  @FunctionalInterface
  public non-sealed interface Longs extends Values {
    /** As {@link Floats#fill}, for longs. */
    void fill(long from, LongBuffer target);
  }

  /** Values that already have their stored form. */
  @FunctionalInterface
  public non-sealed interface Bytes extends Values {
    /**
     * Fills the whole remaining part of {@code target}, little-endian.
     *
     * @param from index of the first byte wanted
     */
    void fill(long from, ByteBuffer target);
  }

  /** Checks that the kind of values fits the stored type. */
  public TensorSource {
    dimensions = List.copyOf(dimensions);
    boolean fits =
        values instanceof Bytes
            || (values instanceof Floats && type.isFloat())
            || (values instanceof Longs && type == StoredType.I64);
    if (!fits) {
      throw new IllegalArgumentException("values of " + name + " cannot be stored as " + type);
    }
    if (dimensions.stream().anyMatch(dimension -> dimension < 0)) {
      throw new IllegalArgumentException("negative dimension in " + name + " " + dimensions);
    }
  }

  /** A tensor of floats that are asked for while writing. */
  public static TensorSource floats(String name, StoredType type, long[] shape, Floats values) {
    return new TensorSource(name, type, boxed(shape), values);
  }

  /** A tensor of floats that lie in an array, row-major. */
  public static TensorSource floats(String name, StoredType type, long[] shape, float[] values) {
    requireLength(name, shape, values.length);
    return floats(
        name,
        type,
        shape,
        (from, target) -> target.put(values, Math.toIntExact(from), target.remaining()));
  }

  /** A tensor of longs that lie in an array, row-major, stored as I64. */
  public static TensorSource longs(String name, long[] shape, long[] values) {
    requireLength(name, shape, values.length);
    Longs source = (from, target) -> target.put(values, Math.toIntExact(from), target.remaining());
    return new TensorSource(name, StoredType.I64, boxed(shape), source);
  }

  /** A tensor of another file, copied bit for bit. */
  public static TensorSource copyOf(WeightFile file, String name) {
    TensorInfo info = file.info(name);
    Bytes source = (from, target) -> file.readBytes(name, from, target);
    return new TensorSource(name, info.type(), info.dimensions(), source);
  }

  /** The same tensor under another name. */
  public TensorSource renamed(String other) {
    return new TensorSource(other, type, dimensions, values);
  }

  /** The shape as an array of its own. */
  public long[] shape() {
    return dimensions.stream().mapToLong(Long::longValue).toArray();
  }

  /** Number of elements. */
  public long elements() {
    return dimensions.stream().reduce(1L, Math::multiplyExact);
  }

  /** Number of bytes in the file. */
  public long byteLength() {
    return Math.multiplyExact(elements(), type.bytes());
  }

  private static List<Long> boxed(long[] shape) {
    return Arrays.stream(shape).boxed().toList();
  }

  private static void requireLength(String name, long[] shape, int length) {
    long elements = Arrays.stream(shape).reduce(1L, Math::multiplyExact);
    if (elements != length) {
      throw new IllegalArgumentException(
          name + " has " + length + " values, its shape " + elements);
    }
  }
}
