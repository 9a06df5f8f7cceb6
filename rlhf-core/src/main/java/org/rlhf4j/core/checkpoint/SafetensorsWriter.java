package org.rlhf4j.core.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.rlhf4j.core.RlhfException;

/**
 * Writes safetensors files, byte for byte as Hugging Face's library does: wide types first, then by
 * name, the header padded with spaces to 8 bytes. A file appears under its name only when it is
 * complete and on the disk.
 */
public final class SafetensorsWriter {
  /** What Hugging Face expects in the header of a PyTorch model. */
  public static final Map<String, String> PYTORCH_METADATA = Map.of("format", "pt");

  /** Largest file that {@link #writeModel(Path, List)} makes: 5 GB. */
  public static final long DEFAULT_SHARD_BYTES = 5_000_000_000L;

  private static final int CHUNK_BYTES = 1 << 20;
  private static final int ALIGNMENT = 8;
  private static final JsonMapper MAPPER = new JsonMapper();

  // The order of the types in a file: descending in the reference implementation's enum.
  private static final List<StoredType> TYPE_ORDER =
      List.of(
          StoredType.I64,
          StoredType.F64,
          StoredType.F32,
          StoredType.I32,
          StoredType.BF16,
          StoredType.F16,
          StoredType.I16,
          StoredType.I8,
          StoredType.U8,
          StoredType.BOOL);

  private static final Pattern SHARD_NAME = Pattern.compile("model-\\d{5}-of-\\d{5}\\.safetensors");

  private SafetensorsWriter() {}

  /**
   * Writes one file.
   *
   * @param target the file's final name
   * @param tensors in any order, names distinct; the same tensors give the same bytes
   * @param metadata strings for the header, {@link #PYTORCH_METADATA} for models
   * @throws RlhfException of the environment when the disk refuses; non-finite when a finite number
   *     is too large for the stored type
   */
  public static void write(Path target, List<TensorSource> tensors, Map<String, String> metadata) {
    AtomicFiles.write(target, channel -> writeTo(channel, tensors, metadata));
  }

  /** As {@link #writeModel(Path, List, long)} with files of at most 5 GB. */
  public static void writeModel(Path folder, List<TensorSource> tensors) {
    writeModel(folder, tensors, DEFAULT_SHARD_BYTES);
  }

  /**
   * Writes a model's weights into a folder: {@code model.safetensors}, or shards with an index
   * where they exceed {@code maxShardBytes}. Weight files of an earlier model in the folder are
   * removed once the new ones are there. A crash leaves the old weights, the new ones or, in the
   * moment that several shards take their names, a folder without an index; never a mixture that
   * loads.
   *
   * @param tensors in the order in which they fill the shards
   */
  public static void writeModel(Path folder, List<TensorSource> tensors, long maxShardBytes) {
    List<List<TensorSource>> shards = shards(tensors, maxShardBytes);
    Path absolute = folder.toAbsolutePath();
    Path single = absolute.resolve(ModelFolder.SINGLE_FILE);
    Path index = absolute.resolve(ModelFolder.INDEX_FILE);
    if (shards.size() == 1) {
      write(single, tensors, PYTORCH_METADATA);
      delete(index);
      deleteOtherShards(absolute, Set.of());
      return;
    }
    List<Path> files = new ArrayList<>();
    boolean staged = false;
    try {
      for (int i = 0; i < shards.size(); i++) {
        List<TensorSource> shard = shards.get(i);
        Path file = absolute.resolve(shardName(i + 1, shards.size()));
        files.add(file);
        AtomicFiles.stage(file, channel -> writeTo(channel, shard, PYTORCH_METADATA));
      }
      staged = true;
    } finally {
      if (!staged) {
        files.forEach(file -> AtomicFiles.discard(AtomicFiles.partial(file)));
      }
    }
    delete(index);
    AtomicFiles.syncFolder(absolute);
    files.forEach(AtomicFiles::publish);
    AtomicFiles.write(index, ConfigJson.toBytes(index(shards)));
    delete(single);
    deleteOtherShards(absolute, new HashSet<>(files));
  }

  private static String shardName(int number, int count) {
    return String.format(Locale.ROOT, "model-%05d-of-%05d.safetensors", number, count);
  }

  private static List<List<TensorSource>> shards(List<TensorSource> tensors, long maxShardBytes) {
    List<List<TensorSource>> shards = new ArrayList<>();
    List<TensorSource> current = new ArrayList<>();
    long bytes = 0;
    for (TensorSource tensor : tensors) {
      if (!current.isEmpty() && bytes + tensor.byteLength() > maxShardBytes) {
        shards.add(current);
        current = new ArrayList<>();
        bytes = 0;
      }
      current.add(tensor);
      bytes += tensor.byteLength();
    }
    shards.add(current);
    return shards;
  }

  private static ObjectNode index(List<List<TensorSource>> shards) {
    long parameters = 0;
    long bytes = 0;
    Map<String, String> files = new TreeMap<>();
    for (int i = 0; i < shards.size(); i++) {
      for (TensorSource tensor : shards.get(i)) {
        if (files.put(tensor.name(), shardName(i + 1, shards.size())) != null) {
          throw new IllegalArgumentException("two tensors are named " + tensor.name());
        }
        parameters += tensor.elements();
        bytes += tensor.byteLength();
      }
    }
    ObjectNode index = JsonNodeFactory.instance.objectNode();
    index.putObject("metadata").put("total_parameters", parameters).put("total_size", bytes);
    files.forEach(index.putObject("weight_map")::put);
    return index;
  }

  private static void deleteOtherShards(Path folder, Set<Path> keep) {
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder)) {
      for (Path entry : entries) {
        boolean shard = SHARD_NAME.matcher(entry.getFileName().toString()).matches();
        if (shard && !keep.contains(entry)) {
          delete(entry);
        }
      }
    } catch (IOException e) {
      throw StorageErrors.unwritable(folder, e);
    }
  }

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw StorageErrors.unwritable(file, e);
    }
  }

  private static void writeTo(
      FileChannel channel, List<TensorSource> tensors, Map<String, String> metadata)
      throws IOException {
    List<TensorSource> ordered = new ArrayList<>(tensors);
    ordered.sort(
        Comparator.<TensorSource>comparingInt(tensor -> TYPE_ORDER.indexOf(tensor.type()))
            .thenComparing(TensorSource::name));
    AtomicFiles.writeFully(channel, header(ordered, metadata));
    ByteBuffer bytes = ByteBuffer.allocate(CHUNK_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (TensorSource tensor : ordered) {
      int chunk = CHUNK_BYTES / tensor.type().bytes();
      long elements = tensor.elements();
      for (long from = 0; from < elements; from += chunk) {
        int count = (int) Math.min(chunk, elements - from);
        bytes.clear().limit(count * tensor.type().bytes());
        encode(tensor, from, count, bytes);
        AtomicFiles.writeFully(channel, bytes.rewind());
      }
    }
  }

  private static ByteBuffer header(List<TensorSource> ordered, Map<String, String> metadata) {
    ObjectNode header = JsonNodeFactory.instance.objectNode();
    if (!metadata.isEmpty()) {
      new TreeMap<>(metadata).forEach(header.putObject(SafetensorsFile.METADATA_KEY)::put);
    }
    long end = 0;
    for (TensorSource tensor : ordered) {
      if (header.has(tensor.name())) {
        throw new IllegalArgumentException("two tensors are named " + tensor.name());
      }
      ObjectNode entry = header.putObject(tensor.name()).put("dtype", tensor.type().name());
      tensor.dimensions().forEach(entry.putArray("shape")::add);
      long begin = end;
      end = Math.addExact(begin, tensor.byteLength());
      entry.putArray("data_offsets").add(begin).add(end);
    }
    byte[] json;
    try {
      json = MAPPER.writeValueAsBytes(header);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree of strings and numbers is always JSON", e);
    }
    int length = (json.length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (length > SafetensorsFile.LONGEST_HEADER) {
      throw new IllegalArgumentException("header of " + length + " bytes: too many tensors");
    }
    byte[] padded = Arrays.copyOf(json, length);
    Arrays.fill(padded, json.length, length, (byte) ' ');
    return ByteBuffer.allocate(Long.BYTES + length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(length)
        .put(padded)
        .flip();
  }

  private static void encode(TensorSource tensor, long from, int count, ByteBuffer target) {
    if (tensor.values() instanceof TensorSource.Floats floats) {
      FloatBuffer values = FloatBuffer.allocate(count);
      floats.fill(from, values);
      requireFull(tensor, values.remaining());
      encode(tensor, values.array(), target);
    } else if (tensor.values() instanceof TensorSource.Longs longs) {
      LongBuffer values = LongBuffer.allocate(count);
      longs.fill(from, values);
      requireFull(tensor, values.remaining());
      target.asLongBuffer().put(values.flip());
    } else if (tensor.values() instanceof TensorSource.Bytes stored) {
      stored.fill(from * tensor.type().bytes(), target);
      requireFull(tensor, target.remaining());
    }
  }

  private static void encode(TensorSource tensor, float[] values, ByteBuffer target) {
    switch (tensor.type()) {
      case F32 -> target.asFloatBuffer().put(values);
      case F16 -> {
        for (float value : values) {
          short bits = Halves.floatToHalf(value);
          requireInRange(tensor, value, Halves.halfToFloat(bits));
          target.putShort(bits);
        }
      }
      case BF16 -> {
        for (float value : values) {
          short bits = Halves.floatToBfloat16(value);
          requireInRange(tensor, value, Halves.bfloat16ToFloat(bits));
          target.putShort(bits);
        }
      }
      default -> throw new IllegalStateException("floats as " + tensor.type());
    }
  }

  private static void requireInRange(TensorSource tensor, float value, float stored) {
    if (Float.isInfinite(stored) && !Float.isInfinite(value)) {
      throw RlhfException.nonFinite(
          "tensor "
              + tensor.name()
              + " holds "
              + value
              + ", too large for "
              + tensor.type().configName()
              + "; save it as bf16 or fp32");
    }
  }

  private static void requireFull(TensorSource tensor, int missing) {
    if (missing != 0) {
      throw new IllegalStateException(tensor.name() + ": " + missing + " values were not filled");
    }
  }
}
