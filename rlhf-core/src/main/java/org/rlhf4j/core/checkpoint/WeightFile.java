package org.rlhf4j.core.checkpoint;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Collections;
import java.util.Map;
import org.rlhf4j.core.RlhfException;

/**
 * A file of named tensors, checked when it was opened. Tensors and files may be larger than 2 GiB.
 * Values are read from the disk when they are asked for; reading is thread-safe. Needs no closing.
 *
 * <p>Every failure of the file's content is an {@link RlhfException} that names the file, the
 * tensor, what was found and what is expected.
 */
public abstract sealed class WeightFile permits SafetensorsFile, PickledFile {
  /** Longest piece that is read at once; such pieces are the garbage that loading makes. */
  private static final int PIECE_BYTES = 1 << 14;

  private static final VarHandle SHORT =
      MethodHandles.byteArrayViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);

  private final Path path;
  private final Map<String, TensorInfo> tensors;

  /** For the formats: the tensors by name, in the file's order. */
  WeightFile(Path path, Map<String, TensorInfo> tensors) {
    this.path = path;
    this.tensors = Collections.unmodifiableMap(tensors);
  }

  /** Fills {@code target} with stored bytes of a tensor: whole elements from a given byte on. */
  abstract void readStored(TensorInfo info, long from, ByteBuffer target);

  /** Where the file lies. */
  public Path path() {
    return path;
  }

  /** All tensors in the file's order. */
  public Collection<TensorInfo> tensors() {
    return tensors.values();
  }

  /** Whether the file has a tensor of that name. */
  public boolean contains(String name) {
    return tensors.containsKey(name);
  }

  /**
   * What the file says about a tensor.
   *
   * @throws RlhfException when there is no such tensor
   */
  public TensorInfo info(String name) {
    TensorInfo info = tensors.get(name);
    if (info == null) {
      throw RlhfException.input(path + ": tensor " + name + " is missing");
    }
    return info;
  }

  /**
   * Reads elements of a tensor as floats, exactly; fills the whole remaining part of {@code
   * target}.
   *
   * @param name an F32, F16 or BF16 tensor
   * @param from flat index of the first element
   * @throws RlhfException when there is no such tensor or it holds no floats
   */
  public void readFloats(String name, long from, FloatBuffer target) {
    TensorInfo info = info(name);
    requireType(info, info.type().isFloat(), "F32, F16 or BF16");
    requireRange(info, from, target.remaining());
    int elementBytes = info.type().bytes();
    ByteBuffer piece = piece((long) target.remaining() * elementBytes);
    boolean wide = info.type() == StoredType.F32;
    float[] values = wide ? null : new float[piece.capacity() / elementBytes];
    while (target.hasRemaining()) {
      int count = Math.min(target.remaining(), piece.capacity() / elementBytes);
      piece.clear().limit(count * elementBytes);
      readStored(info, from * elementBytes, piece);
      piece.flip();
      if (wide) {
        target.put(piece.asFloatBuffer());
      } else {
        widen(info.type(), piece.array(), values, count);
        target.put(values, 0, count);
      }
      from += count;
    }
  }

  /** As {@link #readFloats(String, long, FloatBuffer)}, into the first {@code count} places. */
  public void readFloats(String name, long from, float[] target, int count) {
    readFloats(name, from, FloatBuffer.wrap(target, 0, count));
  }

  /** A whole tensor as floats, row-major; it must have less than 2^31 elements. */
  public float[] readFloats(String name) {
    float[] values = new float[arrayLength(info(name))];
    readFloats(name, 0, FloatBuffer.wrap(values));
    return values;
  }

  /** A whole tensor of integers or booleans, row-major; it must have less than 2^31 elements. */
  public long[] readLongs(String name) {
    TensorInfo info = info(name);
    requireType(
        info,
        !info.type().isFloat() && info.type() != StoredType.F64,
        "I64, I32, I16, I8, U8 or BOOL");
    long[] values = new long[arrayLength(info)];
    int elementBytes = info.type().bytes();
    ByteBuffer piece = piece(info.byteLength());
    int done = 0;
    while (done < values.length) {
      int count = Math.min(values.length - done, piece.capacity() / elementBytes);
      piece.clear().limit(count * elementBytes);
      readStored(info, (long) done * elementBytes, piece);
      for (int i = 0; i < count; i++) {
        int at = i * elementBytes;
        values[done + i] =
            switch (info.type()) {
              case I64 -> piece.getLong(at);
              case I32 -> piece.getInt(at);
              case I16 -> piece.getShort(at);
              case I8 -> piece.get(at);
              default -> Byte.toUnsignedLong(piece.get(at));
            };
      }
      done += count;
    }
    return values;
  }

  /**
   * Reads the stored bytes of a tensor, little-endian, row-major; fills the whole remaining part of
   * {@code target}.
   *
   * @param from index of the first byte within the tensor, that of an element
   */
  public void readBytes(String name, long from, ByteBuffer target) {
    TensorInfo info = info(name);
    int elementBytes = info.type().bytes();
    if (from < 0 || from + target.remaining() > info.byteLength()) {
      throw new IndexOutOfBoundsException(
          name + ": bytes " + from + " + " + target.remaining() + " of " + info.byteLength());
    }
    if (from % elementBytes != 0 || target.remaining() % elementBytes != 0) {
      throw new IllegalArgumentException(name + ": elements of " + elementBytes + " bytes are cut");
    }
    readStored(info, from, target);
  }

  private static ByteBuffer piece(long wanted) {
    return ByteBuffer.allocate((int) Math.min(PIECE_BYTES, wanted)).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Between arrays, since a loop over buffers takes several times as long. */
  private static void widen(StoredType type, byte[] from, float[] target, int count) {
    if (type == StoredType.F16) {
      for (int i = 0; i < count; i++) {
        target[i] = Halves.halfToFloat((short) SHORT.get(from, 2 * i));
      }
    } else {
      for (int i = 0; i < count; i++) {
        target[i] = Halves.bfloat16ToFloat((short) SHORT.get(from, 2 * i));
      }
    }
  }

  private void requireType(TensorInfo info, boolean fits, String expected) {
    if (!fits) {
      throw RlhfException.input(
          path + ": tensor " + info.name() + " has type " + info.type() + ", expected " + expected);
    }
  }

  private static void requireRange(TensorInfo info, long from, int count) {
    if (from < 0 || from + count > info.elements()) {
      throw new IndexOutOfBoundsException(
          info.name() + ": elements " + from + " + " + count + " of " + info.elements());
    }
  }

  private int arrayLength(TensorInfo info) {
    if (info.elements() > Integer.MAX_VALUE - 8) {
      throw RlhfException.input(
          path
              + ": tensor "
              + info.name()
              + " has "
              + info.elements()
              + " elements, too many here");
    }
    return (int) info.elements();
  }
}
