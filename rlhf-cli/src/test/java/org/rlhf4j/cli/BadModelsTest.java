package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorInfo;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.testing.Shared;

/** Weights that are damaged or hostile end with one line, exit code 3 and nothing written. */
class BadModelsTest {
  private static final String INDEX = "model.safetensors.index.json";

  @TempDir Path folder;
  private TinyRuns tiny;
  private Path output;

  @BeforeEach
  void files() throws IOException {
    tiny = new TinyRuns(folder);
    output = folder.resolve("out");
  }

  private Path file(String name) {
    return tiny.model.resolve(name);
  }

  private static void fails(ExitCode code, List<String> words, String... parts) {
    CommandLineRun run = CommandLineRun.of(words);
    assertEquals(code, run.code(), run.errors().toString());
    assertEquals(1, run.errors().size(), run.errors().toString());
    for (String part : parts) {
      assertTrue(run.errors().get(0).contains(part), part + " in: " + run.errors());
    }
    assertFalse(run.errors().get(0).contains("Exception"), run.errors().toString());
  }

  private void refused(String... parts) {
    fails(ExitCode.INPUT, List.of("inspect", tiny.model.toString()), parts);
  }

  private void refusedByTraining(String... parts) throws IOException {
    fails(ExitCode.INPUT, tiny.train("sft", output), parts);
    if (Files.exists(output)) {
      try (Stream<Path> entries = Files.list(output)) {
        assertEquals(List.of(), entries.toList());
      }
    }
  }

  /** The model's tensors, read before its files are changed. */
  private List<TensorSource> tensors() {
    ModelFolder model = ModelFolder.open(tiny.model);
    List<TensorSource> tensors = new ArrayList<>();
    for (String name : model.tensorNames()) {
      TensorInfo info = model.info(name);
      tensors.add(TensorSource.floats(name, StoredType.F32, info.shape(), model.readFloats(name)));
    }
    return tensors;
  }

  @Test
  void safetensors() throws IOException {
    byte[] whole = Files.readAllBytes(file("model.safetensors"));
    Files.write(file("model.safetensors"), Arrays.copyOf(whole, whole.length - 1));
    refused("model.safetensors", "cut short");
    byte[] flipped = whole.clone();
    flipped[20] ^= 1;
    Files.write(file("model.safetensors"), flipped);
    refused("model.safetensors");
    ByteBuffer oversized = ByteBuffer.wrap(whole.clone()).order(ByteOrder.LITTLE_ENDIAN);
    oversized.putLong(0, 1L << 40);
    Files.write(file("model.safetensors"), oversized.array());
    refused("header length 1099511627776 is more than the allowed 100000000");
    byte[] header =
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"
                + "\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}")
            .getBytes(StandardCharsets.UTF_8);
    ByteBuffer twice = ByteBuffer.allocate(8 + header.length).order(ByteOrder.LITTLE_ENDIAN);
    Files.write(file("model.safetensors"), twice.putLong(header.length).put(header).array());
    refused("Duplicate field 'a'");
  }

  @Test
  void shards() throws IOException {
    SafetensorsWriter.writeModel(tiny.model, tensors(), 5_000);
    assertEquals(
        ExitCode.DONE, CommandLineRun.of(List.of("inspect", tiny.model.toString())).code());
    String index = Files.readString(file(INDEX));
    Files.writeString(file(INDEX), index.replace("\"model-00001-of", "\"model-00009-of"));
    refused(INDEX, "missing weight files model-00009-of-");
    Files.writeString(file(INDEX), index.replaceFirst("(\"model.norm.weight\".*)\n", "$1,\n$1\n"));
    refused(INDEX, "Duplicate field 'model.norm.weight'");
    Files.writeString(file(INDEX), index.replaceFirst("\"model-0[^\"]*\"", "\"/etc/passwd\""));
    refused(INDEX, "must be the name of a .safetensors file in the folder");
    Files.writeString(file(INDEX), index.replaceFirst("\"model.norm.weight\"", "\"another\""));
    refused("tensor model.norm.weight", "is not listed");
    Files.writeString(file(INDEX), "{\"weight_map\": [");
    refused(INDEX, "no valid JSON");
  }

  @Test
  void configurations() throws IOException {
    String config = Files.readString(file("config.json"));
    Files.writeString(file("config.json"), config.replaceFirst("\\{", "{\"vocab_size\": 7,"));
    refused("config.json", "Duplicate field 'vocab_size'");
    Files.writeString(
        file("config.json"),
        config.replaceFirst("\"num_hidden_layers\": *\\d+", "\"num_hidden_layers\": 2147483647"));
    refused("config.json: num_hidden_layers must be at most 10000, got 2147483647");
  }

  @Test
  void numbersThatAreNotFinite() throws IOException {
    List<TensorSource> tensors = tensors();
    tensors.removeIf(tensor -> tensor.name().equals("model.norm.weight"));
    float[] broken = new float[16];
    broken[3] = Float.NaN;
    broken[5] = Float.POSITIVE_INFINITY;
    tensors.add(TensorSource.floats("model.norm.weight", StoredType.F32, new long[] {16}, broken));
    SafetensorsWriter.writeModel(tiny.model, tensors);
    refusedByTraining("model.safetensors: tensor model.norm.weight holds NaN at element 3");
    fails(
        ExitCode.INPUT,
        List.of(
            "score",
            "--model_name_or_path=" + tiny.model,
            "--dataset_path=" + tiny.rows,
            "--output_path=" + folder.resolve("scored.jsonl"),
            "--device=cpu",
            "--dtype=fp32"),
        "tensor model.norm.weight holds NaN at element 3");
    assertFalse(Files.exists(folder.resolve("scored.jsonl")));
  }

  private void zip(int method, String pickle) throws IOException {
    Files.deleteIfExists(file("model.safetensors"));
    try (OutputStream target = Files.newOutputStream(file("pytorch_model.bin"));
        ZipOutputStream zip = new ZipOutputStream(target)) {
      byte[] content = pickle.getBytes(StandardCharsets.ISO_8859_1);
      ZipEntry entry = new ZipEntry("archive/data.pkl");
      CRC32 crc = new CRC32();
      crc.update(content);
      entry.setMethod(method);
      entry.setSize(content.length);
      entry.setCrc(crc.getValue());
      zip.putNextEntry(entry);
      zip.write(content);
      zip.closeEntry();
    }
  }

  @Test
  void pickles() throws IOException {
    zip(ZipEntry.STORED, "\u0080\u0002cposix\nsystem\n(X\6\0\0\0id > xtR.");
    refused("pytorch_model.bin: the pickle asks for posix.system, which is refused");
    refusedByTraining("posix.system");
    zip(ZipEntry.DEFLATED, "\u0080\u0002}." + "\0".repeat(10_000_000));
    assertTrue(Files.size(file("pytorch_model.bin")) < 20_000);
    refused("entry archive/data.pkl is compressed", "10000004");
    byte[] whole = Files.readAllBytes(Shared.path("golden/pickles/module.bin"));
    Files.write(file("pytorch_model.bin"), Arrays.copyOf(whole, whole.length - 100));
    refused("pytorch_model.bin", "cut short");
    Files.write(file("pytorch_model.bin"), whole);
    refused("tensor model.embed_tokens.weight is missing");
  }

  @Test
  void deltas() throws IOException {
    List<String> make =
        List.of(
            "delta",
            "make",
            "--base_model_name_or_path=" + tiny.model,
            "--model_name_or_path=" + tiny.model,
            "--output_dir=" + output);
    assertEquals(ExitCode.DONE, CommandLineRun.of(make).code());
    fails(ExitCode.CONFIG, make, "is not empty", "overwrite_output_dir");
    List<String> over = new ArrayList<>(make);
    over.add("--overwrite_output_dir=true");
    assertEquals(ExitCode.DONE, CommandLineRun.of(over).code());
    Path thesis = Files.createDirectory(folder.resolve("thesis"));
    Files.writeString(thesis.resolve("thesis.txt"), "mine");
    over.set(4, "--output_dir=" + thesis);
    fails(ExitCode.CONFIG, over, "holds no model");
    over.set(4, "--output_dir=" + folder);
    fails(ExitCode.CONFIG, over, "which is read");
    assertEquals("mine", Files.readString(thesis.resolve("thesis.txt")));

    Path restored = folder.resolve("restored");
    List<String> apply =
        new ArrayList<>(
            List.of(
                "delta",
                "apply",
                "--base_model_name_or_path=" + tiny.rewardModel,
                "--model_name_or_path=" + output,
                "--output_dir=" + restored));
    fails(ExitCode.INPUT, apply, "tensor score.weight", "is missing");
    assertFalse(Files.exists(restored));
    apply.set(2, "--base_model_name_or_path=" + tiny.model);
    assertEquals(ExitCode.DONE, CommandLineRun.of(apply).code());
    assertEquals(
        -1, Files.mismatch(file("model.safetensors"), restored.resolve("model.safetensors")));
    apply.set(1, "mix");
    fails(ExitCode.CONFIG, apply, "--action", "make, apply");
  }
}
