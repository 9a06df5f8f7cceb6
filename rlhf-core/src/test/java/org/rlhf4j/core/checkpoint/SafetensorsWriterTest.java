package org.rlhf4j.core.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.testing.Shared;

class SafetensorsWriterTest {
  private static final long[] TWO = {2};

  @TempDir Path folder;

  /** Hugging Face's own files, taken apart and written again in any order, come out the same. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "llama-gqa/model.safetensors",
        "llama-gqa/golden.safetensors",
        "llama-bias/model.safetensors",
        "llama-reward/model.safetensors",
        "llama-bf16-checkpoint/model.safetensors",
        "llama-fp16-checkpoint/model.safetensors",
        "llama-sharded/model-00002-of-00003.safetensors"
      })
  void writesTheBytesOfTheReferenceImplementation(String name) throws IOException {
    Path golden = Shared.path("golden/models/" + name);
    SafetensorsFile file = SafetensorsFile.open(golden);
    List<TensorSource> tensors = new ArrayList<>();
    for (TensorInfo info : file.tensors()) {
      tensors.add(
          info.type().isFloat()
              ? TensorSource.floats(
                  info.name(), info.type(), info.shape(), file.readFloats(info.name()))
              : TensorSource.copyOf(file, info.name()));
    }
    Collections.shuffle(tensors, new Random(1));
    Path written = folder.resolve("model.safetensors");
    SafetensorsWriter.write(written, tensors, file.metadata());
    assertArrayEquals(Files.readAllBytes(golden), Files.readAllBytes(written));
  }

  @Test
  void writesTheFormatByHand() throws IOException {
    Path written = folder.resolve("new/model.safetensors");
    SafetensorsWriter.write(
        written,
        List.of(
            TensorSource.floats("b", StoredType.BF16, TWO, new float[] {1f, -2f}),
            TensorSource.floats("a", StoredType.F16, TWO, new float[] {1f, -2f}),
            TensorSource.floats("z", StoredType.F32, new long[0], new float[] {0.5f}),
            TensorSource.longs("n", new long[] {1}, new long[] {-1})),
        SafetensorsWriter.PYTORCH_METADATA);
    String header =
        "{\"__metadata__\":{\"format\":\"pt\"},"
            + "\"n\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
            + "\"z\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[8,12]},"
            + "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[12,16]},"
            + "\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[16,20]}}";
    String padded = header + " ".repeat((8 - header.length() % 8) % 8);
    byte[] data = {
      -1,
      -1,
      -1,
      -1,
      -1,
      -1,
      -1,
      -1,
      0,
      0,
      0,
      0x3f,
      (byte) 0x80,
      0x3f,
      0,
      (byte) 0xc0,
      0,
      0x3c,
      0,
      (byte) 0xc0
    };
    assertArrayEquals(SafetensorsBytes.of(padded, data), Files.readAllBytes(written));
  }

  /** More than one chunk, so the callback sees every offset. */
  @Test
  void asksForLargeTensorsPieceByPiece() {
    int elements = 700_001;
    Path written = folder.resolve("large.safetensors");
    TensorSource.Floats values =
        (from, target) -> {
          assertTrue(target.remaining() <= 1 << 20);
          for (long i = from; target.hasRemaining(); i++) {
            target.put(i);
          }
        };
    for (StoredType type : List.of(StoredType.F32, StoredType.BF16)) {
      SafetensorsWriter.write(
          written,
          List.of(TensorSource.floats("x", type, new long[] {elements}, values)),
          Map.of());
      float[] read = SafetensorsFile.open(written).readFloats("x");
      for (int i = 0; i < elements; i++) {
        float expected =
            type == StoredType.F32 ? i : Halves.bfloat16ToFloat(Halves.floatToBfloat16(i));
        assertEquals(expected, read[i]);
      }
    }
  }

  @Test
  void aNumberThatTheTypeCannotHoldStopsTheWriting() throws IOException {
    Path written = folder.resolve("model.safetensors");
    Files.writeString(written, "old");
    RlhfException error =
        assertThrows(
            RlhfException.class,
            () ->
                SafetensorsWriter.write(
                    written,
                    List.of(
                        TensorSource.floats("w", StoredType.F16, TWO, new float[] {1f, 70000f})),
                    Map.of()));
    assertEquals(ExitCode.NON_FINITE, error.exitCode());
    assertEquals(
        "tensor w holds 70000.0, too large for float16; save it as bf16 or fp32",
        error.getMessage());
    assertEquals("old", Files.readString(written));
    assertEquals(List.of("model.safetensors"), names(folder));
  }

  @Test
  void aSourceThatGivesTooFewValuesIsADefect() {
    TensorSource lazy = TensorSource.floats("w", StoredType.F32, TWO, (from, target) -> {});
    assertThrows(
        IllegalStateException.class,
        () -> SafetensorsWriter.write(folder.resolve("w"), List.of(lazy), Map.of()));
    TensorSource one = TensorSource.floats("w", StoredType.F32, TWO, new float[2]);
    assertThrows(
        IllegalArgumentException.class,
        () -> SafetensorsWriter.write(folder.resolve("w"), List.of(one, one), Map.of()));
    assertThrows(
        IllegalArgumentException.class,
        () -> TensorSource.floats("w", StoredType.F32, TWO, new float[3]));
    assertThrows(
        IllegalArgumentException.class,
        () -> TensorSource.floats("w", StoredType.I64, TWO, new float[2]));
  }

  @Test
  void splitsIntoShardsWithAnIndex() throws IOException {
    List<TensorSource> tensors = tensors(1f);
    // 8 bytes each: two of them fit into 20.
    SafetensorsWriter.writeModel(folder, tensors, 20);
    assertEquals(
        List.of(
            "model-00001-of-00003.safetensors",
            "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors",
            "model.safetensors.index.json"),
        names(folder));
    JsonNode index =
        new ObjectMapper().readTree(folder.resolve("model.safetensors.index.json").toFile());
    assertEquals(40, index.at("/metadata/total_size").intValue());
    assertEquals(10, index.at("/metadata/total_parameters").intValue());
    assertEquals(
        "{\"t0\":\"model-00001-of-00003.safetensors\",\"t1\":\"model-00001-of-00003.safetensors\","
            + "\"t2\":\"model-00002-of-00003.safetensors\","
            + "\"t3\":\"model-00002-of-00003.safetensors\","
            + "\"t4\":\"model-00003-of-00003.safetensors\"}",
        index.get("weight_map").toString());
    Files.writeString(folder.resolve("config.json"), "{}");
    assertArrayEquals(new float[] {3f, 1f}, ModelFolder.open(folder).readFloats("t3"));
  }

  @Test
  void filesHaveTheSameNamesInEveryCountry() throws IOException {
    TensorSource one = TensorSource.floats("a", StoredType.F32, new long[] {4}, new float[4]);
    TensorSource other = TensorSource.floats("b", StoredType.F32, new long[] {4}, new float[4]);
    Locale before = Locale.getDefault(Locale.Category.FORMAT);
    try {
      // Its digits are others.
      Locale.setDefault(Locale.Category.FORMAT, Locale.forLanguageTag("ar-EG"));
      SafetensorsWriter.writeModel(folder, List.of(one, other), 16);
    } finally {
      Locale.setDefault(Locale.Category.FORMAT, before);
    }
    assertEquals(
        List.of(
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json"),
        names(folder));
  }

  @Test
  void anEarlierModelsWeightFilesGo() throws IOException {
    Files.writeString(folder.resolve("config.json"), "{}");
    SafetensorsWriter.writeModel(folder, tensors(1f), 20);
    SafetensorsWriter.writeModel(folder, tensors(2f), 8);
    assertArrayEquals(new float[] {3f, 2f}, ModelFolder.open(folder).readFloats("t3"));
    assertEquals(7, names(folder).size());
    SafetensorsWriter.writeModel(folder, tensors(3f));
    assertArrayEquals(new float[] {3f, 3f}, ModelFolder.open(folder).readFloats("t3"));
    assertEquals(List.of("config.json", "model.safetensors"), names(folder));
    SafetensorsWriter.writeModel(folder, tensors(4f), 20);
    assertArrayEquals(new float[] {3f, 4f}, ModelFolder.open(folder).readFloats("t3"));
    assertFalse(Files.exists(folder.resolve("model.safetensors")));
  }

  @Test
  void aFailureWhileWritingShardsLeavesTheOldModel() throws IOException {
    Files.writeString(folder.resolve("config.json"), "{}");
    SafetensorsWriter.writeModel(folder, tensors(1f), 20);
    List<String> before = names(folder);
    List<TensorSource> broken = new ArrayList<>(tensors(2f));
    broken.set(
        4,
        TensorSource.floats(
            "t4",
            StoredType.F32,
            TWO,
            (from, target) -> {
              throw new IllegalStateException("broken");
            }));
    assertThrows(
        IllegalStateException.class, () -> SafetensorsWriter.writeModel(folder, broken, 20));
    assertEquals(before, names(folder));
    assertArrayEquals(new float[] {0f, 1f}, ModelFolder.open(folder).readFloats("t0"));
  }

  private static List<TensorSource> tensors(float mark) {
    List<TensorSource> tensors = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      tensors.add(TensorSource.floats("t" + i, StoredType.F32, TWO, new float[] {i, mark}));
    }
    return tensors;
  }

  static List<String> names(Path folder) throws IOException {
    try (Stream<Path> entries = Files.list(folder)) {
      TreeSet<String> names = new TreeSet<>();
      entries.forEach(entry -> names.add(entry.getFileName().toString()));
      return List.copyOf(names);
    }
  }
}
