package org.rlhf4j.core.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.MappedByteBuffer;
import java.nio.ShortBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/**
 * A safetensors file, memory-mapped and checked against the format's specification when it is
 * opened. Tensors and files may be larger than 2 GiB. Reading is thread-safe. The mapping needs no
 * closing: it goes when this object is collected.
 *
 * <p>Every failure of the file's content is an {@link RlhfException} that names the file, the
 * tensor, what was found and what is expected.
 */
public final class SafetensorsFile {
  /** The longest header the specification allows. */
  static final long LONGEST_HEADER = 100_000_000;

  /** Key of the header that holds strings about the file instead of a tensor. */
  static final String METADATA_KEY = "__metadata__";

  private static final int LENGTH_BYTES = 8;
  private static final long WINDOW_BYTES = 1L << 30;
  // A mapped window reaches this far into the next one, so no element is cut by a window's end.
  private static final int OVERLAP_BYTES = 8;
  private static final Set<String> TENSOR_KEYS = Set.of("dtype", "shape", "data_offsets");

  private final Path path;
  private final long dataBegin;
  private final Map<String, TensorInfo> tensors;
  private final Map<String, String> metadata;
  private final Windows windows;

  private SafetensorsFile(
      Path path,
      long dataBegin,
      Map<String, TensorInfo> tensors,
      Map<String, String> metadata,
      Windows windows) {
    this.path = path;
    this.dataBegin = dataBegin;
    this.tensors = tensors;
    this.metadata = metadata;
    this.windows = windows;
  }

  /**
   * Opens and checks a file.
   *
   * @throws RlhfException when it is missing, unreadable, cut short or not a valid safetensors file
   */
  public static SafetensorsFile open(Path path) {
    return open(path, WINDOW_BYTES);
  }

  static SafetensorsFile open(Path path, long windowBytes) {
    if (Files.isDirectory(path)) {
      throw RlhfException.input(path + ": a safetensors file is expected, found a folder");
    }
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      long size = channel.size();
      long headerLength = readHeaderLength(path, channel, size);
      ObjectNode header = readHeader(path, channel, (int) headerLength);
      long dataBegin = LENGTH_BYTES + headerLength;
      Map<String, String> metadata = readMetadata(path, header);
      Map<String, TensorInfo> tensors = readTensors(path, header);
      requireContiguous(path, tensors.values(), size - dataBegin);
      return new SafetensorsFile(
          path, dataBegin, tensors, metadata, Windows.map(channel, size, windowBytes));
    } catch (IOException e) {
      throw StorageErrors.unreadable(path, e);
    }
  }

  /** Where the file lies. */
  public Path path() {
    return path;
  }

  /** The strings about the file, such as {@code format}; empty without them. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** All tensors in the header's order. */
  public Collection<TensorInfo> tensors() {
    return tensors.values();
  }

  /** Whether the file has a tensor of that name. */
  public boolean contains(String name) {
    return tensors.containsKey(name);
  }

  /**
   * What the header says about a tensor.
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
    long position = dataBegin + info.begin() + from * elementBytes;
    while (target.hasRemaining()) {
      ByteBuffer piece = windows.at(position);
      int count = Math.min(target.remaining(), piece.remaining() / elementBytes);
      piece.limit(count * elementBytes);
      if (info.type() == StoredType.F32) {
        target.put(piece.asFloatBuffer());
      } else {
        widen(info.type(), piece.asShortBuffer(), target);
      }
      position += (long) count * elementBytes;
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
    long position = dataBegin + info.begin();
    int done = 0;
    while (done < values.length) {
      ByteBuffer piece = windows.at(position);
      int count = Math.min(values.length - done, piece.remaining() / elementBytes);
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
      position += (long) count * elementBytes;
    }
    return values;
  }

  /**
   * Reads the stored bytes of a tensor, little-endian; fills the whole remaining part of {@code
   * target}.
   *
   * @param from index of the first byte within the tensor
   */
  public void readBytes(String name, long from, ByteBuffer target) {
    TensorInfo info = info(name);
    if (from < 0 || from + target.remaining() > info.byteLength()) {
      throw new IndexOutOfBoundsException(
          name + ": bytes " + from + " + " + target.remaining() + " of " + info.byteLength());
    }
    long position = dataBegin + info.begin() + from;
    while (target.hasRemaining()) {
      ByteBuffer piece = windows.at(position);
      int count = Math.min(target.remaining(), piece.remaining());
      target.put(piece.limit(count));
      position += count;
    }
  }

  private static void widen(StoredType type, ShortBuffer from, FloatBuffer target) {
    boolean half = type == StoredType.F16;
    while (from.hasRemaining()) {
      short bits = from.get();
      target.put(half ? Halves.halfToFloat(bits) : Halves.bfloat16ToFloat(bits));
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

  private static long readHeaderLength(Path path, FileChannel channel, long size)
      throws IOException {
    if (size < LENGTH_BYTES) {
      throw RlhfException.input(
          path
              + ": "
              + (size == 0 ? "the file is empty" : "the file has only " + size + " bytes")
              + ", expected a safetensors file, which begins with the 8-byte length of its header");
    }
    long length = readAt(channel, 0, LENGTH_BYTES).order(ByteOrder.LITTLE_ENDIAN).getLong();
    if (Long.compareUnsigned(length, LONGEST_HEADER) > 0) {
      throw RlhfException.input(
          path
              + ": header length "
              + Long.toUnsignedString(length)
              + " is more than the allowed "
              + LONGEST_HEADER
              + " bytes; this is no safetensors file or it is corrupt");
    }
    if (length > size - LENGTH_BYTES) {
      throw RlhfException.input(
          path
              + ": the file ends inside its header: it has "
              + size
              + " bytes, expected at least "
              + (LENGTH_BYTES + length));
    }
    return length;
  }

  private static ObjectNode readHeader(Path path, FileChannel channel, int length)
      throws IOException {
    byte[] content = readAt(channel, LENGTH_BYTES, length).array();
    if (content.length == 0 || content[0] != '{') {
      throw RlhfException.input(
          path + ": the header must begin with '{'; this is no safetensors file or it is corrupt");
    }
    return StrictJson.parse(content, path + ": header");
  }

  private static ByteBuffer readAt(FileChannel channel, long position, int length)
      throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(length);
    while (buffer.hasRemaining()) {
      if (channel.read(buffer, position + buffer.position()) < 0) {
        throw new IOException("the file became shorter while it was read");
      }
    }
    return buffer.flip();
  }

  private static Map<String, String> readMetadata(Path path, ObjectNode header) {
    JsonNode node = header.get(METADATA_KEY);
    if (node == null) {
      return Map.of();
    }
    Map<String, String> metadata = new LinkedHashMap<>();
    if (!node.isObject()) {
      throw RlhfException.input(path + ": " + METADATA_KEY + " must be an object of strings");
    }
    for (Map.Entry<String, JsonNode> entry : node.properties()) {
      if (!entry.getValue().isTextual()) {
        throw RlhfException.input(
            path
                + ": "
                + METADATA_KEY
                + "."
                + entry.getKey()
                + " must be a string, found "
                + entry.getValue());
      }
      metadata.put(entry.getKey(), entry.getValue().textValue());
    }
    return Collections.unmodifiableMap(metadata);
  }

  private static Map<String, TensorInfo> readTensors(Path path, ObjectNode header) {
    Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : header.properties()) {
      if (!entry.getKey().equals(METADATA_KEY)) {
        tensors.put(entry.getKey(), readTensor(path, entry.getKey(), entry.getValue()));
      }
    }
    return Collections.unmodifiableMap(tensors);
  }

  private static TensorInfo readTensor(Path path, String name, JsonNode node) {
    String place = path + ": tensor " + name;
    if (!node.isObject()) {
      throw RlhfException.input(place + ": an object is expected, found " + brief(node));
    }
    for (Map.Entry<String, JsonNode> field : node.properties()) {
      if (!TENSOR_KEYS.contains(field.getKey())) {
        throw RlhfException.input(
            place + ": unknown key " + field.getKey() + ", expected dtype, shape, data_offsets");
      }
    }
    JsonNode typeName = node.path("dtype");
    StoredType type = typeName.isTextual() ? StoredType.ofName(typeName.textValue()) : null;
    if (type == null) {
      throw RlhfException.input(
          place
              + ": dtype "
              + brief(typeName)
              + " is not supported, expected one of "
              + Arrays.toString(StoredType.values()));
    }
    List<Long> shape = readNumbers(place, "shape", node.path("shape"));
    List<Long> offsets = readNumbers(place, "data_offsets", node.path("data_offsets"));
    if (offsets.size() != 2 || offsets.get(1) < offsets.get(0)) {
      throw RlhfException.input(
          place + ": data_offsets must be [begin, end] with begin <= end, found " + offsets);
    }
    long expected = byteLength(place, shape, type);
    long found = offsets.get(1) - offsets.get(0);
    if (expected != found) {
      throw RlhfException.input(
          place
              + ": data_offsets hold "
              + found
              + " bytes, expected "
              + expected
              + " for shape "
              + shape
              + " of "
              + type);
    }
    return new TensorInfo(name, type, shape, offsets.get(0), offsets.get(1));
  }

  private static List<Long> readNumbers(String place, String key, JsonNode node) {
    if (!node.isArray()) {
      throw RlhfException.input(
          place + ": " + key + " must be a list of integers, found " + brief(node));
    }
    List<Long> numbers = new ArrayList<>();
    for (JsonNode item : node) {
      if (!item.isIntegralNumber() || !item.canConvertToLong() || item.longValue() < 0) {
        throw RlhfException.input(
            place + ": " + key + " must hold integers from 0, found " + brief(item));
      }
      numbers.add(item.longValue());
    }
    return numbers;
  }

  private static long byteLength(String place, List<Long> shape, StoredType type) {
    try {
      return Math.multiplyExact(shape.stream().reduce(1L, Math::multiplyExact), type.bytes());
    } catch (ArithmeticException e) {
      throw RlhfException.input(place + ": shape " + shape + " is too large", e);
    }
  }

  private static void requireContiguous(
      Path path, Collection<TensorInfo> tensors, long dataLength) {
    List<TensorInfo> ordered = new ArrayList<>(tensors);
    ordered.sort(Comparator.comparingLong(TensorInfo::begin).thenComparingLong(TensorInfo::end));
    long end = 0;
    for (TensorInfo info : ordered) {
      if (info.begin() != end) {
        throw RlhfException.input(
            path
                + ": tensor "
                + info.name()
                + " begins at byte "
                + info.begin()
                + " of the data, expected "
                + end
                + (info.begin() < end ? " (tensors overlap)" : " (a hole between tensors)"));
      }
      end = info.end();
    }
    if (end != dataLength) {
      throw RlhfException.input(
          path
              + ": the file holds "
              + dataLength
              + " bytes of data, expected "
              + end
              + (dataLength < end ? "; it is cut short" : "; something follows the last tensor"));
    }
  }

  private static String brief(JsonNode node) {
    if (node.isMissingNode()) {
      return "nothing";
    }
    String text = node.toString();
    return text.length() > 60 ? text.substring(0, 60) + "…" : text;
  }

  /** The mapped file in pieces that a {@link ByteBuffer} can address. */
  private record Windows(List<MappedByteBuffer> buffers, long windowBytes) {

    static Windows map(FileChannel channel, long size, long windowBytes) throws IOException {
      List<MappedByteBuffer> buffers = new ArrayList<>();
      for (long begin = 0; begin < size; begin += windowBytes) {
        long length = Math.min(size - begin, windowBytes + OVERLAP_BYTES);
        buffers.add(channel.map(FileChannel.MapMode.READ_ONLY, begin, length));
      }
      return new Windows(List.copyOf(buffers), windowBytes);
    }

    /** What follows from this byte of the file on, at least one whole element; little-endian. */
    ByteBuffer at(long position) {
      MappedByteBuffer window = buffers.get((int) (position / windowBytes));
      int offset = (int) (position % windowBytes);
      return window.slice(offset, window.limit() - offset).order(ByteOrder.LITTLE_ENDIAN);
    }
  }
}
