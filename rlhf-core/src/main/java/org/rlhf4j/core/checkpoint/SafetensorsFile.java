package org.rlhf4j.core.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.nio.file.Path;
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
 * A safetensors file, checked against the format's specification when it is opened.
 *
 * @see <a href="https://github.com/huggingface/safetensors">The specification</a>
 */
public final class SafetensorsFile extends WeightFile {
  /** The longest header the specification allows. */
  static final long LONGEST_HEADER = 100_000_000;

  /** Key of the header that holds strings about the file instead of a tensor. */
  static final String METADATA_KEY = "__metadata__";

  private static final int LENGTH_BYTES = 8;
  private static final Set<String> TENSOR_KEYS = Set.of("dtype", "shape", "data_offsets");

  private final FileBytes bytes;
  private final long dataBegin;
  private final Map<String, String> metadata;

  private SafetensorsFile(
      FileBytes bytes,
      long dataBegin,
      Map<String, TensorInfo> tensors,
      Map<String, String> metadata) {
    super(bytes.path(), tensors);
    this.bytes = bytes;
    this.dataBegin = dataBegin;
    this.metadata = metadata;
  }

  /**
   * Opens and checks a file.
   *
   * @throws RlhfException when it is missing, unreadable, cut short or not a valid safetensors file
   */
  public static SafetensorsFile open(Path path) {
    FileBytes bytes = FileBytes.open(path);
    long headerLength = readHeaderLength(path, bytes);
    ObjectNode header = readHeader(path, bytes, (int) headerLength);
    long dataBegin = LENGTH_BYTES + headerLength;
    Map<String, String> metadata = readMetadata(path, header);
    Map<String, TensorInfo> tensors = readTensors(path, header);
    requireContiguous(path, tensors.values(), bytes.size() - dataBegin);
    return new SafetensorsFile(bytes, dataBegin, tensors, metadata);
  }

  /** The strings about the file, such as {@code format}; empty without them. */
  public Map<String, String> metadata() {
    return metadata;
  }

  @Override
  void readStored(TensorInfo info, long from, ByteBuffer target) {
    bytes.read(dataBegin + info.begin() + from, target);
  }

  private static long readHeaderLength(Path path, FileBytes bytes) {
    long size = bytes.size();
    if (size < LENGTH_BYTES) {
      throw RlhfException.input(
          path
              + ": "
              + (size == 0 ? "the file is empty" : "the file has only " + size + " bytes")
              + ", expected a safetensors file, which begins with the 8-byte length of its header");
    }
    long length = bytes.read(0, LENGTH_BYTES).getLong();
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

  private static ObjectNode readHeader(Path path, FileBytes bytes, int length) {
    byte[] content = bytes.read(LENGTH_BYTES, length).array();
    if (content.length == 0 || content[0] != '{') {
      throw RlhfException.input(
          path + ": the header must begin with '{'; this is no safetensors file or it is corrupt");
    }
    return StrictJson.parse(content, path + ": header");
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
    return tensors;
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
}
