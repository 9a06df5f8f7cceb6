package org.rlhf4j.core.checkpoint;

import java.util.Arrays;
import java.util.List;

/**
 * What a weight file says about one tensor.
 *
 * @param name the tensor's name, as Hugging Face writes it
 * @param type how its numbers are stored
 * @param dimensions its shape, outermost first; empty for a scalar
 * @param begin first byte; in a safetensors file counted from the end of the header
 * @param end byte behind the last one, where they lie row by row
 */
public record TensorInfo(
    String name, StoredType type, List<Long> dimensions, long begin, long end) {

  /** Copies the dimensions. */
  public TensorInfo {
    dimensions = List.copyOf(dimensions);
  }

  /** The shape as an array of its own. */
  public long[] shape() {
    return dimensions.stream().mapToLong(Long::longValue).toArray();
  }

  /** Number of elements. */
  public long elements() {
    return (end - begin) / type.bytes();
  }

  /** Number of bytes. */
  public long byteLength() {
    return end - begin;
  }

  /** Whether the tensor has exactly this shape. */
  public boolean hasShape(long... expected) {
    return Arrays.equals(shape(), expected);
  }
}
