package org.rlhf4j.core.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;

class AtomicFilesTest {
  @TempDir Path folder;

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  @Test
  void replacesAFile() throws IOException {
    Path file = folder.resolve("deep/er/a.json");
    AtomicFiles.write(file, bytes("long first content"));
    AtomicFiles.write(file, bytes("second"));
    assertEquals("second", Files.readString(file));
    assertEquals(List.of("a.json"), SafetensorsWriterTest.names(file.getParent()));
    AtomicFiles.copy(file, folder.resolve("b.json"));
    assertEquals("second", Files.readString(folder.resolve("b.json")));
  }

  @Test
  void aFailureLeavesTheOldFile() throws IOException {
    Path file = folder.resolve("a.json");
    AtomicFiles.write(file, bytes("old"));
    RlhfException error =
        assertThrows(
            RlhfException.class,
            () ->
                AtomicFiles.write(
                    file,
                    channel -> {
                      channel.write(ByteBuffer.wrap(bytes("new")));
                      throw new IOException("No space left on device");
                    }));
    assertEquals(ExitCode.ENVIRONMENT, error.exitCode());
    assertEquals(file + ": cannot be written: No space left on device", error.getMessage());
    assertEquals("old", Files.readString(file));
    assertEquals(List.of("a.json"), SafetensorsWriterTest.names(folder));
  }

  @Test
  void aFileInTheWayIsNamed() throws IOException {
    Path inTheWay = Files.writeString(folder.resolve("file"), "x");
    RlhfException error =
        assertThrows(
            RlhfException.class, () -> AtomicFiles.write(inTheWay.resolve("a/b"), new byte[1]));
    assertEquals(ExitCode.ENVIRONMENT, error.exitCode());
    RlhfException create =
        assertThrows(RlhfException.class, () -> AtomicFolder.create(inTheWay.resolve("c")));
    assertEquals(ExitCode.ENVIRONMENT, create.exitCode());
    assertTrue(create.getMessage().contains("file is in the way"), create.getMessage());
  }

  @Test
  void anUnwritableFolderIsAnErrorOfTheEnvironment() {
    assumeTrue(folder.toFile().setWritable(false), "no permissions on this file system");
    assumeTrue(!Files.isWritable(folder), "this user may write everywhere");
    RlhfException error =
        assertThrows(
            RlhfException.class, () -> AtomicFiles.write(folder.resolve("a"), new byte[1]));
    assertEquals(
        folder.resolve("a") + ": cannot be written: permission denied", error.getMessage());
    assertThrows(RlhfException.class, () -> AtomicFolder.create(folder.resolve("b")));
  }

  @Test
  void aFolderAppearsOnlyWhenComplete() throws IOException {
    Path target = folder.resolve("run/checkpoint-5");
    try (AtomicFolder unfinished = AtomicFolder.create(target)) {
      AtomicFiles.write(unfinished.path().resolve("a"), bytes("1"));
      assertFalse(Files.exists(target));
    }
    assertEquals(List.of(), SafetensorsWriterTest.names(target.getParent()));
    for (String content : List.of("2", "3")) {
      try (AtomicFolder finished = AtomicFolder.create(target)) {
        AtomicFiles.write(finished.path().resolve("sub/a"), bytes(content));
        finished.commit();
      }
      assertEquals(content, Files.readString(target.resolve("sub/a")));
      assertEquals(List.of("checkpoint-5"), SafetensorsWriterTest.names(target.getParent()));
    }
  }

  @Test
  void leftoversOfACrashAreRemovedAndAReplacedFolderComesBack() throws IOException {
    Path first = folder.resolve("checkpoint-1");
    Path second = folder.resolve("checkpoint-2");
    Files.createDirectories(AtomicFiles.partial(first).resolve("sub"));
    Files.writeString(AtomicFiles.partial(first).resolve("sub/a"), "x");
    Files.writeString(AtomicFiles.partial(folder.resolve("model.safetensors")), "x");
    // Killed between the two renames of a replacement, and after them.
    Files.createDirectories(AtomicFiles.replaced(first));
    Files.writeString(AtomicFiles.replaced(first).resolve("a"), "old");
    Files.createDirectories(AtomicFiles.replaced(second));
    Files.createDirectories(second);
    Files.writeString(second.resolve("a"), "new");
    Files.writeString(folder.resolve("other"), "x");
    AtomicFiles.removeLeftovers(folder);
    assertEquals(
        List.of("checkpoint-1", "checkpoint-2", "other"), SafetensorsWriterTest.names(folder));
    assertEquals("old", Files.readString(first.resolve("a")));
    assertEquals("new", Files.readString(second.resolve("a")));
    AtomicFiles.removeLeftovers(folder.resolve("absent"));
  }

  /** A JVM that dies in the middle of a write, as kill -9 would end it. */
  @ParameterizedTest
  @ValueSource(strings = {"file", "model", "folder"})
  void deathBeforeTheRenameLeavesTheOldContent(String kind)
      throws IOException, InterruptedException {
    Path target = folder.resolve("target");
    if (kind.equals("folder")) {
      Files.createDirectories(target);
      Files.writeString(target.resolve("a"), "old");
    } else {
      Files.writeString(target, "old");
    }
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Dying.class.getName(),
                kind,
                target.toString())
            .inheritIO()
            .start();
    assertTrue(process.waitFor(5, TimeUnit.MINUTES));
    assertEquals(9, process.exitValue());
    Path old = kind.equals("folder") ? target.resolve("a") : target;
    assertEquals("old", Files.readString(old));
    assertEquals(2, SafetensorsWriterTest.names(folder).size());
    AtomicFiles.removeLeftovers(folder);
    assertEquals(List.of("target"), SafetensorsWriterTest.names(folder));
    assertEquals("old", Files.readString(old));
  }

  @Test
  void aSignalInTheMiddleOfAWriteLeavesNoTemporaryFile() throws IOException, InterruptedException {
    Path target = Files.writeString(folder.resolve("target"), "old");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Dying.class.getName(),
                "signal",
                target.toString())
            .inheritIO()
            .start();
    assertTrue(process.waitFor(5, TimeUnit.MINUTES));
    assertEquals(9, process.exitValue());
    assertEquals(List.of("target"), SafetensorsWriterTest.names(folder));
    assertEquals("old", Files.readString(target));
  }

  /** The main class of that JVM. */
  static final class Dying {
    private Dying() {}

    public static void main(String[] arguments) {
      Path target = Path.of(arguments[1]);
      switch (arguments[0]) {
        case "file" ->
            AtomicFiles.write(
                target,
                channel -> {
                  channel.write(ByteBuffer.wrap(bytes("new")));
                  channel.force(true);
                  Runtime.getRuntime().halt(9);
                });
        case "signal" -> {
          AtomicFiles.requireWritable(target);
          AtomicFiles.write(
              target,
              channel -> {
                channel.write(ByteBuffer.wrap(bytes("new")));
                // Ends the JVM as SIGINT and SIGTERM do.
                System.exit(9);
              });
        }
        case "model" ->
            SafetensorsWriter.write(
                target,
                List.of(
                    TensorSource.floats(
                        "w",
                        StoredType.F32,
                        new long[] {1 << 20},
                        (from, values) -> {
                          if (from > 0) {
                            Runtime.getRuntime().halt(9);
                          }
                          values.position(values.limit());
                        })),
                Map.of());
        default -> {
          AtomicFolder unfinished = AtomicFolder.create(target);
          AtomicFiles.write(unfinished.path().resolve("a"), bytes("new"));
          Runtime.getRuntime().halt(9);
        }
      }
    }
  }

  /** Needs the right to mount a small file system; skipped elsewhere. */
  @Test
  void aFullDiskIsAnErrorOfTheEnvironmentAndLeavesNothing()
      throws IOException, InterruptedException {
    Path disk = Files.createDirectory(folder.resolve("disk"));
    boolean mounted = run("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk.toString());
    assumeTrue(mounted, "mounting a small file system is not permitted");
    try {
      Path file = disk.resolve("model.safetensors");
      AtomicFiles.write(file, bytes("old"));
      TensorSource large =
          TensorSource.floats("w", StoredType.F32, new long[] {1 << 18}, new float[1 << 18]);
      RlhfException error =
          assertThrows(
              RlhfException.class, () -> SafetensorsWriter.write(file, List.of(large), Map.of()));
      assertEquals(ExitCode.ENVIRONMENT, error.exitCode());
      assertEquals(file + ": cannot be written: No space left on device", error.getMessage());
      assertThrows(
          RlhfException.class, () -> SafetensorsWriter.writeModel(disk, List.of(large, large), 8));
      try (AtomicFolder checkpoint = AtomicFolder.create(disk.resolve("checkpoint-1"))) {
        assertThrows(
            RlhfException.class,
            () -> AtomicFiles.write(checkpoint.path().resolve("a"), new byte[1 << 20]));
      }
      assertEquals(List.of("model.safetensors"), SafetensorsWriterTest.names(disk));
      assertEquals("old", Files.readString(file));
    } finally {
      assertTrue(run("umount", disk.toString()));
    }
  }

  private static boolean run(String... command) throws InterruptedException {
    try {
      return new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start()
              .waitFor()
          == 0;
    } catch (IOException e) {
      return false;
    }
  }

  @Test
  void whetherAFileCanBeWrittenIsFoundOutWithoutTouchingIt() throws IOException {
    Path file = folder.resolve("deep/er/a.json");
    AtomicFiles.requireWritable(file);
    assertEquals(List.of(), SafetensorsWriterTest.names(file.getParent()));
    AtomicFiles.write(file, bytes("old"));
    AtomicFiles.requireWritable(file);
    assertEquals("old", Files.readString(file));
    assertEquals(List.of("a.json"), SafetensorsWriterTest.names(file.getParent()));
    for (Path impossible : List.of(file.resolve("below a file"), file.getParent())) {
      RlhfException error =
          assertThrows(RlhfException.class, () -> AtomicFiles.requireWritable(impossible));
      assertEquals(ExitCode.ENVIRONMENT, error.exitCode());
      assertTrue(error.getMessage().startsWith(impossible + ": cannot be written: "));
    }
  }
}
