package org.rlhf4j.core.checkpoint;

import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.rlhf4j.core.RlhfException;

/**
 * A {@code pytorch_model.bin}: what {@code torch.save} makes of a dictionary of tensors, in the zip
 * form that it writes since PyTorch 1.6 or in the older form. Nothing of the file is executed, see
 * {@link PickleReader}. Tensors whose elements do not lie row by row are read in their right order.
 */
public final class PickledFile extends WeightFile {
  private static final int ZIP_SIGNATURE = 0x04034b50;
  private static final String PICKLE = "/data.pkl";

  /** What an old file begins with: {@code torch.serialization.MAGIC_NUMBER}, pickled. */
  private static final BigInteger OLD_MAGIC = new BigInteger("1950a86a20f9469cfc6c", 16);

  private static final int OLD_BEGIN = 0x0a8a0280;
  private static final long OLD_PROTOCOL = 1001;

  private final FileBytes bytes;

  /** Steps between neighbours, in elements, of tensors that do not lie row by row. */
  private final Map<String, long[]> strides;

  /** The data of those tensors: mapped once, since a process may have so many mappings only. */
  private final Map<String, ByteBuffer> views = new ConcurrentHashMap<>();

  private PickledFile(
      FileBytes bytes, Map<String, TensorInfo> tensors, Map<String, long[]> strides) {
    super(bytes.path(), tensors);
    this.bytes = bytes;
    this.strides = strides;
  }

  /**
   * Opens and checks a file.
   *
   * @throws RlhfException when it is missing, unreadable, cut short, no such file, or asks for
   *     anything but tensors and dictionaries
   */
  public static PickledFile open(Path path) {
    FileBytes bytes = FileBytes.open(path);
    int begin = bytes.size() < Integer.BYTES ? 0 : bytes.read(0, Integer.BYTES).getInt();
    return switch (begin) {
      case ZIP_SIGNATURE -> openZip(bytes);
      case OLD_BEGIN -> openOld(bytes);
      default ->
          throw RlhfException.input(
              path
                  + ": no file of torch.save: it begins neither as a zip archive nor as the form"
                  + " before PyTorch 1.6");
    };
  }

  private static PickledFile openZip(FileBytes bytes) {
    Path path = bytes.path();
    StoredZip zip = StoredZip.read(bytes);
    List<String> pickles =
        zip.entries().keySet().stream()
            .filter(name -> name.endsWith(PICKLE) && name.indexOf('/') == name.lastIndexOf('/'))
            .toList();
    if (pickles.size() != 1) {
      throw RlhfException.input(
          path + ": the archive has " + pickles.size() + " entries */data.pkl, expected one");
    }
    String root = pickles.get(0).substring(0, pickles.get(0).length() - PICKLE.length());
    StoredZip.Entry order = zip.entries().get(root + "/byteorder");
    if (order != null) {
      String text = text(bytes, order);
      if (!text.equals("little")) {
        throw RlhfException.input(
            path + ": byte order '" + Printable.of(text) + "' is not supported, expected little");
      }
    }
    StoredZip.Entry pickle = zip.entries().get(pickles.get(0));
    if (pickle.length() > PickleReader.LONGEST) {
      throw RlhfException.input(
          path
              + ": its pickle has "
              + pickle.length()
              + " bytes, more than the allowed "
              + PickleReader.LONGEST);
    }
    Object content =
        PickleReader.read(bytes.read(pickle.begin(), (int) pickle.length()), path.toString());
    Listing listing = new Listing(bytes);
    tensors(path, content)
        .forEach(
            (name, tensor) -> {
              PickleReader.Storage storage = tensor.storage();
              StoredZip.Entry entry = zip.entries().get(root + "/data/" + storage.key());
              String place = path + ": tensor " + Printable.of(name);
              if (entry == null) {
                throw RlhfException.input(
                    place
                        + ": its data, entry data/"
                        + Printable.of(storage.key())
                        + ", is missing");
              }
              requireLength(place, storage, entry.length());
              listing.add(name, tensor, entry.begin());
            });
    return listing.file();
  }

  private static String text(FileBytes bytes, StoredZip.Entry entry) {
    int length = (int) Math.min(entry.length(), Byte.MAX_VALUE);
    return new String(bytes.read(entry.begin(), length).array(), StandardCharsets.UTF_8);
  }

  /**
   * Magic number, protocol, facts about the machine, the dictionary and the keys of the storages
   * are five pickles in a row; then comes each storage: its count of elements and the elements.
   */
  private static PickledFile openOld(FileBytes bytes) {
    Path path = bytes.path();
    String place = path.toString();
    ByteBuffer pickles = bytes.read(0, (int) Math.min(bytes.size(), PickleReader.LONGEST));
    Object magic = PickleReader.read(pickles, place);
    Object protocol = PickleReader.read(pickles, place);
    Object machine = PickleReader.read(pickles, place);
    if (!OLD_MAGIC.equals(magic) || !Long.valueOf(OLD_PROTOCOL).equals(protocol)) {
      throw RlhfException.input(path + ": no file of torch.save: its first numbers are wrong");
    }
    if (!(machine instanceof Map<?, ?> facts) || !Boolean.TRUE.equals(facts.get("little_endian"))) {
      throw RlhfException.input(path + ": it was written on a machine that is not little-endian");
    }
    Map<String, PickleReader.Tensor> tensors = tensors(path, PickleReader.read(pickles, place));
    Object keys = PickleReader.read(pickles, place);
    Map<String, PickleReader.Storage> storages = new HashMap<>();
    tensors.values().forEach(tensor -> storages.put(tensor.storage().key(), tensor.storage()));
    Map<String, Long> begins = begins(bytes, pickles.position(), keys, storages);
    Listing listing = new Listing(bytes);
    tensors.forEach(
        (name, tensor) -> {
          Long begin = begins.get(tensor.storage().key());
          String tensorPlace = path + ": tensor " + Printable.of(name);
          if (begin == null) {
            throw RlhfException.input(tensorPlace + ": its data are missing");
          }
          if (!storages.get(tensor.storage().key()).equals(tensor.storage())) {
            throw RlhfException.input(tensorPlace + ": its data are described twice, differently");
          }
          listing.add(name, tensor, begin);
        });
    return listing.file();
  }

  /** Where the elements of each storage of an old file begin. */
  private static Map<String, Long> begins(
      FileBytes bytes, long position, Object keys, Map<String, PickleReader.Storage> storages) {
    if (!(keys instanceof List<?> list)) {
      throw RlhfException.input(
          bytes.path() + ": a list of storages is expected, found " + PickleReader.kind(keys));
    }
    Map<String, Long> begins = new HashMap<>();
    for (Object key : list) {
      PickleReader.Storage storage = key instanceof String text ? storages.get(text) : null;
      if (storage == null) {
        throw RlhfException.input(
            bytes.path() + ": storage " + PickleReader.kind(key) + " belongs to no tensor");
      }
      String place = bytes.path() + ": storage " + Printable.of(storage.key());
      if (bytes.size() - position < Long.BYTES) {
        throw RlhfException.input(place + " is missing; the file is cut short");
      }
      long elements = bytes.read(position, Long.BYTES).getLong();
      position += Long.BYTES;
      long room = (bytes.size() - position) / storage.type().bytes();
      if (elements != storage.elements() || elements > room) {
        throw RlhfException.input(
            place
                + " has "
                + Math.min(elements, room)
                + " elements, expected "
                + storage.elements()
                + (elements > room ? "; the file is cut short" : ""));
      }
      if (begins.put(storage.key(), position) != null) {
        throw RlhfException.input(place + " is there twice");
      }
      position += elements * storage.type().bytes();
    }
    return begins;
  }

  private static Map<String, PickleReader.Tensor> tensors(Path path, Object content) {
    if (!(content instanceof Map<?, ?> map)) {
      throw RlhfException.input(
          path + ": a dictionary of tensors is expected, found " + PickleReader.kind(content));
    }
    Map<String, PickleReader.Tensor> tensors = new LinkedHashMap<>();
    map.forEach(
        (key, value) -> {
          if (!(key instanceof String name) || !(value instanceof PickleReader.Tensor tensor)) {
            throw RlhfException.input(
                path
                    + ": "
                    + Printable.of(key.toString())
                    + " is "
                    + PickleReader.kind(value)
                    + "; a dictionary of tensors alone is expected");
          }
          tensors.put(name, tensor);
        });
    return tensors;
  }

  private static void requireLength(String place, PickleReader.Storage storage, long bytes) {
    // The multiplication could overflow.
    if (bytes % storage.type().bytes() != 0
        || bytes / storage.type().bytes() != storage.elements()) {
      throw RlhfException.input(
          place
              + ": its data have "
              + bytes
              + " bytes, expected "
              + storage.elements()
              + " elements of "
              + storage.type());
    }
  }

  /** Tensors on their way into a file. */
  private record Listing(
      FileBytes bytes, Map<String, TensorInfo> tensors, Map<String, long[]> strides) {
    Listing(FileBytes bytes) {
      this(bytes, new LinkedHashMap<>(), new HashMap<>());
    }

    void add(String name, PickleReader.Tensor tensor, long storageBegin) {
      StoredType type = tensor.storage().type();
      String place = bytes.path() + ": tensor " + Printable.of(name);
      long elements;
      long last;
      boolean rowByRow = true;
      try {
        elements = tensor.shape().stream().reduce(1L, Math::multiplyExact);
        last = tensor.offset();
        long expected = 1;
        for (int i = tensor.shape().size() - 1; i >= 0; i--) {
          long steps = tensor.shape().get(i) - 1;
          long stride = tensor.strides().get(i);
          last = elements == 0 ? last : Math.addExact(last, Math.multiplyExact(steps, stride));
          rowByRow &= steps <= 0 || stride == expected;
          expected = elements == 0 ? 1 : Math.multiplyExact(expected, steps + 1);
        }
        Math.multiplyExact(elements, type.bytes());
      } catch (ArithmeticException e) {
        throw RlhfException.input(place + ": shape " + tensor.shape() + " is too large", e);
      }
      if (elements > 0 ? last >= tensor.storage().elements() : last > tensor.storage().elements()) {
        throw RlhfException.input(
            place
                + ": shape "
                + tensor.shape()
                + " with strides "
                + tensor.strides()
                + " reaches behind the "
                + tensor.storage().elements()
                + " elements of its data");
      }
      rowByRow |= elements == 0;
      // A longer tensor repeats its data: no weight does, and copies of it would have no limit.
      if (elements > tensor.storage().elements()) {
        throw RlhfException.input(
            place + ": shape " + tensor.shape() + " has more elements than its data");
      }
      if (!rowByRow && (last - tensor.offset() + 1) * type.bytes() > Integer.MAX_VALUE) {
        throw RlhfException.input(
            place
                + ": strides "
                + tensor.strides()
                + " of shape "
                + tensor.shape()
                + " are supported up to 2 GiB only; save it with .contiguous()");
      }
      long begin = storageBegin + tensor.offset() * type.bytes();
      long end = begin + elements * type.bytes();
      tensors.put(name, new TensorInfo(name, type, tensor.shape(), begin, end));
      if (!rowByRow) {
        strides.put(name, tensor.strides().stream().mapToLong(Long::longValue).toArray());
      }
    }

    PickledFile file() {
      return new PickledFile(bytes, tensors, strides);
    }
  }

  @Override
  void readStored(TensorInfo info, long from, ByteBuffer target) {
    long[] steps = strides.get(info.name());
    if (steps == null) {
      bytes.read(info.begin() + from, target);
    } else {
      gather(info, steps, from / info.type().bytes(), target);
    }
  }

  private ByteBuffer view(TensorInfo info, long[] steps) {
    long[] shape = info.shape();
    long reach = 1;
    for (int i = 0; i < shape.length; i++) {
      reach += (shape[i] - 1) * steps[i];
    }
    return bytes.map(info.begin(), (int) (reach * info.type().bytes()));
  }

  private void gather(TensorInfo info, long[] steps, long from, ByteBuffer target) {
    long[] shape = info.shape();
    int elementBytes = info.type().bytes();
    ByteBuffer all = views.computeIfAbsent(info.name(), name -> view(info, steps));
    long[] index = new long[shape.length];
    long rest = from;
    for (int i = shape.length - 1; i >= 0; i--) {
      index[i] = rest % shape[i];
      rest /= shape[i];
    }
    while (target.hasRemaining()) {
      long element = 0;
      for (int i = 0; i < shape.length; i++) {
        element += index[i] * steps[i];
      }
      target.put(all.slice((int) element * elementBytes, elementBytes));
      for (int i = shape.length - 1; i >= 0; i--) {
        index[i]++;
        if (index[i] < shape[i]) {
          break;
        }
        index[i] = 0;
      }
    }
  }
}
