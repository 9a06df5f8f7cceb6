package org.rlhf4j.core.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;

class SafetensorsFileTest {
  private static final byte[] FOUR = SafetensorsBytes.floats(1f, -2f, 0.5f, 4f);

  @TempDir Path folder;

  private Path file(byte[] content) {
    return SafetensorsBytes.write(folder.resolve("test.safetensors"), content);
  }

  @Test
  void readsWhatTheHeaderSays() {
    String header =
        """
        {"__metadata__": {"format": "pt"},
         "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
         "a": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}\
        """;
    SafetensorsFile file = SafetensorsFile.open(file(SafetensorsBytes.of(header, FOUR)));
    assertEquals(Map.of("format", "pt"), file.metadata());
    assertEquals(List.of("b", "a"), file.tensors().stream().map(TensorInfo::name).toList());
    assertEquals(new TensorInfo("a", StoredType.F32, List.of(1L, 2L), 0, 8), file.info("a"));
    assertArrayEquals(new float[] {1f, -2f}, file.readFloats("a"));
    assertArrayEquals(new float[] {0.5f, 4f}, file.readFloats("b"));
  }

  @Test
  void readsScalarsAndEmptyTensors() {
    String header =
        """
        {"scalar": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
         "empty": {"dtype": "F32", "shape": [3, 0], "data_offsets": [4, 4]}}\
        """;
    byte[] data = SafetensorsBytes.floats(7f);
    SafetensorsFile file = SafetensorsFile.open(file(SafetensorsBytes.of(header, data)));
    assertArrayEquals(new float[] {7f}, file.readFloats("scalar"));
    assertArrayEquals(new float[0], file.readFloats("empty"));
    assertTrue(
        SafetensorsFile.open(file(SafetensorsBytes.of("{}  ", new byte[0]))).tensors().isEmpty());
  }

  @Test
  void readsIntegersOfEveryWidth() {
    ByteBuffer data = ByteBuffer.allocate(8 + 4 + 2 + 1 + 1 + 1).order(ByteOrder.LITTLE_ENDIAN);
    data.putLong(Long.MIN_VALUE).putInt(-70000).putShort((short) -300);
    data.put((byte) -5).put((byte) 200).put((byte) 1);
    String header =
        """
        {"i64": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
         "i32": {"dtype": "I32", "shape": [1], "data_offsets": [8, 12]},
         "i16": {"dtype": "I16", "shape": [1], "data_offsets": [12, 14]},
         "i8": {"dtype": "I8", "shape": [1], "data_offsets": [14, 15]},
         "u8": {"dtype": "U8", "shape": [1], "data_offsets": [15, 16]},
         "bool": {"dtype": "BOOL", "shape": [1], "data_offsets": [16, 17]}}\
        """;
    Path path = file(SafetensorsBytes.of(header, data.array()));
    SafetensorsFile file = SafetensorsFile.open(path);
    assertArrayEquals(new long[] {Long.MIN_VALUE}, file.readLongs("i64"));
    assertArrayEquals(new long[] {-70000}, file.readLongs("i32"));
    assertArrayEquals(new long[] {-300}, file.readLongs("i16"));
    assertArrayEquals(new long[] {-5}, file.readLongs("i8"));
    assertArrayEquals(new long[] {200}, file.readLongs("u8"));
    assertArrayEquals(new long[] {1}, file.readLongs("bool"));
    assertThrows(RlhfException.class, () -> file.readFloats("i64"));
  }

  /** Longer than the pieces that are read at once, at every alignment. */
  @Test
  void aPiecesEndCutsNoElement() {
    int count = 200_001;
    SplittableRandom random = new SplittableRandom(3);
    ByteBuffer data = ByteBuffer.allocate(6 * count).order(ByteOrder.LITTLE_ENDIAN);
    float[] singles = new float[count];
    float[] halves = new float[count];
    for (int i = 0; i < count; i++) {
      singles[i] = (float) random.nextDouble();
      data.putFloat(singles[i]);
    }
    for (int i = 0; i < count; i++) {
      // 1 + f/1024 is a half with the fraction f.
      halves[i] = 1 + i % 1024 / 1024f;
      data.putShort((short) (0x3c00 + i % 1024));
    }
    String header =
        """
        {"s": {"dtype": "F32", "shape": [200001], "data_offsets": [0, 800004]},
         "h": {"dtype": "F16", "shape": [200001], "data_offsets": [800004, 1200006]}}\
        """;
    for (int padding = 0; padding < 4; padding++) {
      Path path = file(SafetensorsBytes.of(header + " ".repeat(padding), data.array()));
      SafetensorsFile file = SafetensorsFile.open(path);
      assertArrayEquals(singles, file.readFloats("s"));
      assertArrayEquals(halves, file.readFloats("h"));
      float[] part = new float[100];
      file.readFloats("h", 150, part, 100);
      assertArrayEquals(Arrays.copyOfRange(halves, 150, 250), part);
      ByteBuffer bytes = ByteBuffer.allocate(800_000);
      file.readBytes("s", 4, bytes);
      assertArrayEquals(Arrays.copyOfRange(data.array(), 4, 800_004), bytes.array());
    }
  }

  @Test
  void readsBehindTwoGibibytes() throws IOException {
    long elements = (1L << 31) + 1000;
    String header =
        "{\"large\":{\"dtype\":\"BF16\",\"shape\":[%d],\"data_offsets\":[0,%d]},\"z\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%d,%d]}}"
            .formatted(elements, 2 * elements, 2 * elements, 2 * elements + 4);
    Path path = file(SafetensorsBytes.of(header, new byte[0]));
    long dataBegin = Files.size(path);
    // The file has a hole that takes no room on the disk.
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
      ByteBuffer end = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
      end.putShort((short) 0x3f80).putShort((short) 0xc000).putFloat(9f).flip();
      channel.write(end, dataBegin + 2 * elements - 4);
    }
    SafetensorsFile file = SafetensorsFile.open(path);
    float[] last = new float[3];
    file.readFloats("large", elements - 3, FloatBuffer.wrap(last));
    assertArrayEquals(new float[] {0f, 1f, -2f}, last);
    assertArrayEquals(new float[] {9f}, file.readFloats("z"));
    assertThrows(RlhfException.class, () -> file.readFloats("large"));
  }

  @Test
  void rangesOutsideATensorAreDefectsOfTheCaller() {
    String header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}";
    SafetensorsFile file = SafetensorsFile.open(file(SafetensorsBytes.of(header, FOUR)));
    assertThrows(IndexOutOfBoundsException.class, () -> file.readFloats("a", 2, new float[3], 3));
    assertThrows(
        IndexOutOfBoundsException.class, () -> file.readBytes("a", 12, ByteBuffer.allocate(8)));
    assertThrows(
        IllegalArgumentException.class, () -> file.readBytes("a", 2, ByteBuffer.allocate(4)));
    RlhfException missing = assertThrows(RlhfException.class, () -> file.info("b"));
    assertTrue(missing.getMessage().contains("tensor b is missing"), missing.getMessage());
  }

  static Stream<Arguments> corruptFiles() {
    byte[] none = new byte[0];
    String good = "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}";
    byte[] goodText = good.getBytes(StandardCharsets.UTF_8);
    byte[] whole = SafetensorsBytes.of(good, FOUR);
    return Stream.of(
        Arguments.of("the file is empty", none),
        Arguments.of("has only 7 bytes", new byte[7]),
        Arguments.of("must begin with '{'", new byte[8]),
        Arguments.of("ends inside its header", Arrays.copyOf(whole, 30)),
        Arguments.of("it is cut short", Arrays.copyOf(whole, whole.length - 1)),
        Arguments.of("it is cut short", Arrays.copyOf(whole, whole.length - 16)),
        Arguments.of("something follows", Arrays.copyOf(whole, whole.length + 1)),
        Arguments.of("allowed 100000000", SafetensorsBytes.of(100_000_001L, goodText, FOUR)),
        Arguments.of("18446744073709551615", SafetensorsBytes.of(-1L, goodText, FOUR)),
        Arguments.of("must begin with '{'", SafetensorsBytes.of(" " + good, FOUR)),
        Arguments.of("no valid JSON", SafetensorsBytes.of(good + "x", FOUR)),
        Arguments.of("no valid JSON", SafetensorsBytes.of(good + "{}", FOUR)),
        Arguments.of("no valid JSON", SafetensorsBytes.of("{\"a\":", FOUR)),
        Arguments.of("not UTF-8", SafetensorsBytes.of(3, new byte[] {'{', (byte) 0xff, '}'}, none)),
        Arguments.of(
            "Duplicate",
            SafetensorsBytes.of(
                good.replace(
                    "}}", "},\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}"),
                FOUR)),
        Arguments.of(
            "Duplicate",
            SafetensorsBytes.of(good.replace("{\"dtype\"", "{\"dtype\":\"F32\",\"dtype\""), FOUR)),
        Arguments.of(
            "tensor a: dtype \"F33\"", SafetensorsBytes.of(good.replace("F32", "F33"), FOUR)),
        Arguments.of(
            "tensor a: dtype nothing",
            SafetensorsBytes.of(good.replace("\"dtype\":\"F32\",", ""), FOUR)),
        Arguments.of(
            "tensor a: shape must be", SafetensorsBytes.of(good.replace("[4]", "4"), FOUR)),
        Arguments.of(
            "tensor a: shape must hold", SafetensorsBytes.of(good.replace("[4]", "[4.0]"), FOUR)),
        Arguments.of(
            "tensor a: shape must hold", SafetensorsBytes.of(good.replace("[4]", "[-4,-1]"), FOUR)),
        Arguments.of(
            "tensor a: shape must hold",
            SafetensorsBytes.of(good.replace("[4]", "[99999999999999999999]"), FOUR)),
        Arguments.of(
            "hold 16 bytes, expected 20", SafetensorsBytes.of(good.replace("[4]", "[5]"), FOUR)),
        Arguments.of(
            "is too large",
            SafetensorsBytes.of(good.replace("[4]", "[4294967296,4294967296]"), FOUR)),
        Arguments.of(
            "is too large",
            SafetensorsBytes.of(good.replace("[4]", "[4611686018427387905]"), FOUR)),
        Arguments.of(
            "data_offsets must be [begin, end]",
            SafetensorsBytes.of(good.replace("[0,16]", "[16,0]"), FOUR)),
        Arguments.of(
            "data_offsets must be [begin, end]",
            SafetensorsBytes.of(good.replace("[0,16]", "[0,16,16]"), FOUR)),
        Arguments.of(
            "a hole between tensors",
            SafetensorsBytes.of(good.replace("[0,16]", "[4,20]"), Arrays.copyOf(FOUR, 20))),
        Arguments.of(
            "tensors overlap",
            SafetensorsBytes.of(
                good.replace(
                    "}}", "},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}"),
                FOUR)),
        Arguments.of(
            "unknown key strides",
            SafetensorsBytes.of(good.replace("{\"dtype\"", "{\"strides\":1,\"dtype\""), FOUR)),
        Arguments.of("tensor a: an object", SafetensorsBytes.of("{\"a\":[]}", none)),
        Arguments.of("__metadata__", SafetensorsBytes.of("{\"__metadata__\":[]}", none)),
        Arguments.of(
            "__metadata__.format", SafetensorsBytes.of("{\"__metadata__\":{\"format\":1}}", none)));
  }

  @ParameterizedTest
  @MethodSource("corruptFiles")
  void aCorruptFileIsOneClearLine(String expected, byte[] content) {
    Path path = file(content);
    RlhfException error = assertThrows(RlhfException.class, () -> SafetensorsFile.open(path));
    assertEquals(ExitCode.INPUT, error.exitCode());
    assertTrue(error.getMessage().startsWith(path.toString()), error.getMessage());
    assertTrue(error.getMessage().contains(expected), error.getMessage());
    assertTrue(error.getMessage().lines().count() == 1, error.getMessage());
  }

  @Test
  void aMissingFileAndAFolderAreNamed() {
    Path missing = folder.resolve("none.safetensors");
    RlhfException error = assertThrows(RlhfException.class, () -> SafetensorsFile.open(missing));
    assertEquals(missing + ": cannot be read: no such file or folder", error.getMessage());
    assertThrows(RlhfException.class, () -> SafetensorsFile.open(folder));
  }

  @Test
  void noMutationCausesAnythingButACleanError() throws IOException {
    String header =
        """
        {"__metadata__":{"format":"pt"},\
        "a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},\
        "b":{"dtype":"I64","shape":[1],"data_offsets":[16,24]},\
        "c":{"dtype":"BF16","shape":[3],"data_offsets":[24,30]}}\
        """;
    byte[] whole = SafetensorsBytes.of(header, Arrays.copyOf(FOUR, 30));
    SplittableRandom random = new SplittableRandom(11);
    int refused = 0;
    for (int round = 0; round < 5000; round++) {
      byte[] mutant = mutate(whole, random);
      Path path = file(mutant);
      try {
        readAll(SafetensorsFile.open(path));
      } catch (RlhfException e) {
        assertEquals(ExitCode.INPUT, e.exitCode());
        assertTrue(e.getMessage().startsWith(path.toString()));
        refused++;
      }
    }
    assertTrue(refused > 2500, refused + " of 5000 refused");
  }

  private static byte[] mutate(byte[] whole, SplittableRandom random) {
    byte[] mutant = whole.clone();
    switch (random.nextInt(5)) {
      case 0 -> mutant = Arrays.copyOf(mutant, random.nextInt(mutant.length));
      case 1 -> mutant[random.nextInt(8)] = (byte) random.nextInt(256);
      case 2 -> {
        // A digit of a header becomes another one.
        int at = random.nextInt(8, mutant.length - 30);
        while (!Character.isDigit(mutant[at])) {
          at = at == mutant.length - 31 ? 8 : at + 1;
        }
        mutant[at] = (byte) ('0' + random.nextInt(10));
      }
      case 3 -> {
        int begin = random.nextInt(mutant.length);
        int end = Math.min(mutant.length, begin + random.nextInt(1, 30));
        byte[] shorter = Arrays.copyOf(mutant, mutant.length - (end - begin));
        System.arraycopy(mutant, end, shorter, begin, mutant.length - end);
        mutant = shorter;
      }
      default -> {
        for (int flips = random.nextInt(1, 5); flips > 0; flips--) {
          mutant[random.nextInt(mutant.length)] ^= (byte) (1 << random.nextInt(8));
        }
      }
    }
    return mutant;
  }

  private static void readAll(SafetensorsFile file) {
    for (TensorInfo info : file.tensors()) {
      if (info.type().isFloat()) {
        assertEquals(info.elements(), file.readFloats(info.name()).length);
      } else if (info.type() != StoredType.F64) {
        assertEquals(info.elements(), file.readLongs(info.name()).length);
      }
    }
  }
}
