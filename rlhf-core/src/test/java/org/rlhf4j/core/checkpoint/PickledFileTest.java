package org.rlhf4j.core.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.testing.Shared;

class PickledFileTest {
  @TempDir Path folder;

  private static Path golden(String name) {
    return Shared.path("golden/pickles/" + name);
  }

  private Path file(byte[] content) {
    return SafetensorsBytes.write(folder.resolve("test.bin"), content);
  }

  private static byte[] bytes(WeightFile file, String name) {
    ByteBuffer bytes = ByteBuffer.allocate((int) file.info(name).byteLength());
    file.readBytes(name, 0, bytes);
    return bytes.array();
  }

  @ParameterizedTest
  @ValueSource(strings = {"dictionary.bin", "old.bin", "module.bin"})
  void readsWhatPyTorchSaved(String name) {
    SafetensorsFile expected = SafetensorsFile.open(golden("expected.safetensors"));
    PickledFile file = PickledFile.open(golden(name));
    assertEquals(name.equals("module.bin") ? 4 : 14, file.tensors().size());
    for (TensorInfo info : file.tensors()) {
      TensorInfo truth = expected.info(info.name());
      assertEquals(truth.type(), info.type(), info.name());
      assertEquals(truth.dimensions(), info.dimensions(), info.name());
      assertArrayEquals(bytes(expected, info.name()), bytes(file, info.name()), info.name());
    }
  }

  @Test
  void readsPartsOfAViewInItsOwnOrder() {
    SafetensorsFile expected = SafetensorsFile.open(golden("expected.safetensors"));
    PickledFile file = PickledFile.open(golden("dictionary.bin"));
    float[] whole = expected.readFloats("permuted");
    for (int from = 0; from < whole.length; from++) {
      float[] part = new float[whole.length - from];
      file.readFloats("permuted", from, part, part.length);
      assertArrayEquals(Arrays.copyOfRange(whole, from, whole.length), part);
    }
  }

  /** The golden model folders: the same weights as their siblings', where those say so. */
  @Test
  void readsTheGoldenFolders() {
    ModelFolder pickled = ModelFolder.open(Shared.path("golden/models/gpt2-bin"));
    assertEquals("pytorch_model.bin", pickled.fileOf("wte.weight").path().getFileName().toString());
    assertEquals(StoredType.F32, pickled.storedType());
    assertEquals(List.of(), pickled.info("h.0.attn.masked_bias").dimensions());
    ModelFolder sharded = ModelFolder.open(Shared.path("golden/models/bloom-sharded-bin"));
    assertTrue(
        sharded.fileOf("word_embeddings.weight").path().toString().endsWith("-of-00003.bin"));
  }

  @Test
  void safetensorsCountWhereBothAreThere() throws IOException {
    Files.writeString(folder.resolve("config.json"), "{}");
    Files.copy(golden("dictionary.bin"), folder.resolve("pytorch_model.bin"));
    assertTrue(ModelFolder.open(folder).contains("scalar"));
    SafetensorsWriter.write(
        folder.resolve("model.safetensors"),
        List.of(TensorSource.floats("a", StoredType.F32, new long[] {1}, new float[] {1})),
        Map.of());
    assertEquals(List.of("a"), List.copyOf(ModelFolder.open(folder).tensorNames()));
  }

  @Test
  void readsBehindTwoGibibytes() throws IOException {
    long elements = (1L << 30) + 3;
    byte[] pickle = pickle("FloatStorage", elements, "K\0", elements);
    Path path = folder.resolve("large.bin");
    ZipBytes zip = new ZipBytes().entry("m/data.pkl", pickle);
    long begin = zip.hole("m/data/0", elements * 4);
    Files.write(path, zip.head());
    // The file has a hole that takes no room on the disk.
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
      ByteBuffer last = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(0, 7f);
      channel.write(last, begin + (elements - 1) * 4);
      channel.write(ByteBuffer.wrap(zip.directory()), begin + elements * 4);
    }
    PickledFile file = PickledFile.open(path);
    float[] end = new float[2];
    file.readFloats("w", elements - 2, end, 2);
    assertArrayEquals(new float[] {0f, 7f}, end);
  }

  /** {@code {"w": tensor}}, put together by hand. */
  private static byte[] pickle(String storage, long elements, String offset, long dimension) {
    ByteBuffer bytes = ByteBuffer.allocate(1000).order(ByteOrder.LITTLE_ENDIAN);
    text(bytes, "\u0080\u0002}X\u0001\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(");
    text(bytes, "(X\u0007\0\0\0storagectorch\n" + storage + "\nX\u0001\0\0\0" + "0");
    text(bytes, "X\u0003\0\0\0cpu\u008a\u0008");
    bytes.putLong(elements);
    text(bytes, "tQ" + offset + "\u008a\u0008");
    bytes.putLong(dimension);
    text(bytes, "\u0085K\u0001\u0085\u0089}tRs.");
    return Arrays.copyOf(bytes.array(), bytes.position());
  }

  private static void text(ByteBuffer target, String text) {
    target.put(text.getBytes(StandardCharsets.ISO_8859_1));
  }

  private static byte[] code(String text) {
    return text.getBytes(StandardCharsets.ISO_8859_1);
  }

  private static byte[] zip(byte[] pickle) {
    return new ZipBytes().entry("m/data.pkl", pickle).entry("m/data/0", new byte[8]).all();
  }

  static Stream<Arguments> pickles() {
    String head = "\u0080\u0002";
    return Stream.of(
        Arguments.of("asks for os.system, which is refused", head + "cos\nsystem\n(X\2\0\0\0lstR."),
        Arguments.of("asks for builtins.eval", head + "cbuiltins\neval\n."),
        Arguments.of("asks for __builtin__.getattr", head + "}X\1\0\0\0ac__builtin__\ngetattr\ns."),
        Arguments.of("asks for a?[31mb.c", head + "ca\u001b[31mb\nc\n."),
        Arguments.of("opcode 0x81", head + "ccollections\nOrderedDict\n)\u0081."),
        Arguments.of("opcode 0x93", head + "\u0093."),
        Arguments.of("pickle protocol 4", "\u0080\u0004}."),
        Arguments.of("cut short", head + "}X\u00ff\0\0\0a"),
        Arguments.of("cut short", head + "}X\u00ff\u00ff\u00ff\u00ffa"),
        Arguments.of("cut short", head + "}"),
        Arguments.of("a dictionary of tensors is expected, found a list", head + "]."),
        Arguments.of("epoch is 3; a dictionary of tensors", head + "}X\5\0\0\0epochK\3s."),
        Arguments.of("state_dict is a dictionary", head + "}X\12\0\0\0state_dict}s."),
        Arguments.of("key a is there twice", head + "}X\1\0\0\0aNsX\1\0\0\0aNs."),
        Arguments.of("a value is missing", head + "Rs."),
        Arguments.of("a mark is missing", head + "}u."),
        Arguments.of("left over", head + "}}."),
        Arguments.of("value 3 is used but was never kept", head + "h\3."),
        Arguments.of("a key is None", head + "}NNs."),
        Arguments.of(
            "OrderedDict is called with other arguments",
            head + "ccollections\nOrderedDict\n]\u0085R."),
        Arguments.of("a storage is described wrongly", head + "NQ."),
        Arguments.of("a name in it has no end", head + "c" + "x".repeat(300)));
  }

  @ParameterizedTest
  @MethodSource("pickles")
  void aPickleThatIsNoneOfWeightsIsRefusedByName(String expected, String pickle) {
    assertRefused(expected, zip(code(pickle)));
  }

  private void assertRefused(String expected, byte[] content) {
    Path path = file(content);
    RlhfException error = assertThrows(RlhfException.class, () -> PickledFile.open(path));
    assertEquals(ExitCode.INPUT, error.exitCode());
    assertTrue(error.getMessage().startsWith(path.toString()), error.getMessage());
    assertTrue(error.getMessage().contains(expected), error.getMessage());
    assertEquals(1, error.getMessage().lines().count(), error.getMessage());
  }

  @Test
  void aTensorThatDoesNotFitItsDataIsRefused() {
    assertEquals(
        List.of(2L),
        PickledFile.open(file(zip(pickle("FloatStorage", 2, "K\0", 2)))).info("w").dimensions());
    assertRefused("expected 3 elements of F32", zip(pickle("FloatStorage", 3, "K\0", 2)));
    assertRefused("8 bytes, expected 2 elements of F16", zip(pickle("HalfStorage", 2, "K\0", 2)));
    assertRefused("reaches behind the 2 elements", zip(pickle("FloatStorage", 2, "K\0", 3)));
    assertRefused("reaches behind the 2 elements", zip(pickle("FloatStorage", 2, "K\1", 2)));
    assertRefused("is too large", zip(pickle("FloatStorage", 2, "K\0", Long.MAX_VALUE)));
    assertRefused("a shape or stride is -1", zip(pickle("FloatStorage", 2, "K\0", -1)));
    assertRefused("asks for torch.QInt8Storage", zip(pickle("QInt8Storage", 8, "K\0", 8)));
    byte[] pickle = pickle("FloatStorage", 2, "K\0", 2);
    assertRefused("data/0, is missing", new ZipBytes().entry("m/data.pkl", pickle).all());
  }

  @Test
  void aDamagedArchiveIsRefused() throws IOException {
    byte[] pickle = pickle("FloatStorage", 2, "K\0", 2);
    byte[] whole = zip(pickle);
    assertRefused("neither as a zip archive", new byte[0]);
    assertRefused("neither as a zip archive", "{\"a\": 1}".getBytes(StandardCharsets.UTF_8));
    assertRefused("it has no end; it is cut short", Arrays.copyOf(whole, whole.length - 30));
    assertRefused("0 entries */data.pkl", new ZipBytes().entry("m/other", pickle).all());
    assertRefused(
        "2 entries */data.pkl",
        new ZipBytes().entry("m/data.pkl", pickle).entry("n/data.pkl", pickle).all());
    assertRefused(
        "entry m/data/0 is there twice",
        new ZipBytes()
            .entry("m/data.pkl", pickle)
            .entry("m/data/0", new byte[8])
            .entry("m/data/0", new byte[8])
            .all());
    assertRefused(
        "byte order 'big'",
        new ZipBytes()
            .entry("m/data.pkl", pickle)
            .entry("m/byteorder", code("big"))
            .entry("m/data/0", new byte[8])
            .all());
    byte[] encrypted = whole.clone();
    encrypted[encrypted.length - 22 - (46 + 8) + 8] |= 1;
    assertRefused("m/data/0 is encrypted", encrypted);
    byte[] old = Files.readAllBytes(golden("old.bin"));
    assertRefused("the file is cut short", Arrays.copyOf(old, old.length - 1));
    assertRefused("the pickle is cut short", Arrays.copyOf(old, 200));
  }

  /** A petabyte of zeros in a thousand bytes: nothing is inflated, not even to look at it. */
  @Test
  void aZipBombIsRefused() {
    byte[] bomb =
        new ZipBytes()
            .entry("m/data.pkl", pickle("FloatStorage", 2, "K\0", 2))
            .deflated("m/data/0", 1L << 50)
            .all();
    assertRefused("m/data/0 is compressed", bomb);
    assertRefused("1125899906842624", bomb);
  }

  /** Eight lists of eight lists of … : read in no time, but no path may walk it. */
  @Test
  void aPickleThatUnfoldsWithoutEndIsRefused() {
    StringBuilder laughs = new StringBuilder("\u0080\u0002]q\0");
    for (char level = 1; level < 60; level++) {
      laughs.append("]q").append(level).append('(');
      laughs.append(("h" + (char) (level - 1)).repeat(8)).append("e");
    }
    assertRefused("left over", zip(code(laughs + ".")));
    assertRefused(
        "a is a list", zip(code("\u0080\u0002}X\1\0\0\0a" + laughs.substring(2, 5) + "h\0as.")));
  }
}
