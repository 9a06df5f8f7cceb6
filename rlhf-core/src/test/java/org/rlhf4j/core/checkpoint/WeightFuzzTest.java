package org.rlhf4j.core.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.testing.Mutation;
import org.rlhf4j.core.testing.Shared;

/**
 * Whatever becomes of a weight file on its way, reading it gives numbers or one line that says what
 * is wrong: no other exception, no endless loop, no memory beyond the file's own size.
 */
class WeightFuzzTest {
  private static final int ROUNDS = 2000;

  @TempDir static Path sources;
  @TempDir Path folder;

  /**
   * A file to spoil.
   *
   * @param name in the model folder
   * @param content when it is whole
   * @param others further files of the folder
   * @param begin first byte that is spoiled
   * @param end byte behind the last one
   */
  record Victim(String name, byte[] content, List<Path> others, int begin, int end) {
    @Override
    public String toString() {
      return name + " " + begin + ".." + end;
    }
  }

  static Stream<Victim> victims() throws IOException {
    byte[] zip = Files.readAllBytes(Shared.path("golden/pickles/dictionary.bin"));
    byte[] old = Files.readAllBytes(Shared.path("golden/pickles/old.bin"));
    byte[] tensors = Files.readAllBytes(Shared.path("golden/pickles/expected.safetensors"));
    Path shards = Files.createDirectory(sources.resolve("shards"));
    List<TensorSource> weights = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      weights.add(
          TensorSource.floats("t" + i, StoredType.BF16, new long[] {3}, new float[] {i, 1, 2}));
    }
    SafetensorsWriter.writeModel(shards, weights, 12);
    String index = "model.safetensors.index.json";
    List<Path> others;
    try (Stream<Path> files = Files.list(shards)) {
      others = files.filter(file -> !file.endsWith(index)).toList();
    }
    byte[] list = Files.readAllBytes(shards.resolve(index));
    int pickle = find(zip, "data.pkl") + 8;
    int pickleEnd = find(zip, ".format_version") - 40;
    int directory = find(zip, "PK\1\2");
    int header = (int) ByteBuffer.wrap(tensors).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
    return Stream.of(
        new Victim("model.safetensors", tensors, List.of(), 0, 8 + header),
        new Victim("model.safetensors", tensors, List.of(), 0, tensors.length),
        new Victim(index, list, others, 0, list.length),
        new Victim("pytorch_model.bin", zip, List.of(), 0, zip.length),
        new Victim("pytorch_model.bin", zip, List.of(), pickle, pickleEnd),
        new Victim("pytorch_model.bin", zip, List.of(), directory, zip.length),
        new Victim("pytorch_model.bin", old, List.of(), 0, old.length));
  }

  private static int find(byte[] content, String text) {
    return new String(content, StandardCharsets.ISO_8859_1).indexOf(text);
  }

  @ParameterizedTest
  @MethodSource("victims")
  @Timeout(600)
  void nothingButACleanError(Victim victim) throws IOException {
    Files.writeString(folder.resolve("config.json"), "{}");
    for (Path other : victim.others()) {
      Files.copy(other, folder.resolve(other.getFileName()));
    }
    SplittableRandom random = new SplittableRandom(victim.end());
    int refused = 0;
    for (int round = 0; round < ROUNDS; round++) {
      if (round % 500 == 0) {
        // Files are let go when they are collected, and a process may have so many only.
        System.gc();
      }
      byte[] mutant = Mutation.of(victim.content(), victim.begin(), victim.end(), random);
      // A new file each time: some file systems write a file to the disk that is cut and refilled.
      Files.deleteIfExists(folder.resolve(victim.name()));
      Files.write(folder.resolve(victim.name()), mutant);
      try {
        ModelFolder read = ModelFolder.open(folder);
        for (String name : read.tensorNames()) {
          assertTrue(read.info(name).byteLength() <= mutant.length + 1000, name);
          ByteBuffer bytes = ByteBuffer.allocate((int) read.info(name).byteLength());
          read.fileOf(name).readBytes(name, 0, bytes);
        }
      } catch (RlhfException e) {
        assertEquals(ExitCode.INPUT, e.exitCode());
        assertTrue(e.getMessage().startsWith(folder.toString()), e.getMessage());
        assertEquals(1, e.getMessage().lines().count(), e.getMessage());
        assertTrue(e.getMessage().length() < 1000, e.getMessage());
        refused++;
      }
    }
    // Many mutations of numbers and names are right again.
    assertTrue(refused > ROUNDS / 10, refused + " of " + ROUNDS + " refused");
  }
}
