package org.rlhf4j.core.train;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.UUID;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.Console;

/**
 * Keeps a second process out of a run's folder: a file in it that is locked while the run is open.
 * The operating system gives the lock back where a process is killed; its file, which then stays,
 * is taken over by the next run.
 */
final class RunLock implements AutoCloseable {
  static final String FILE_NAME = ".rlhf4j-lock";

  private final Path file;
  private final FileChannel channel;

  private RunLock(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /**
   * Locks a folder.
   *
   * @param console told where the file system has no locks
   * @return closed by the caller, which unlocks the folder
   * @throws RlhfException if another run has it, or nothing can be written there
   */
  static RunLock take(Path folder, Console console) {
    Path file = folder.resolve(FILE_NAME);
    FileChannel channel;
    try {
      channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    } catch (IOException e) {
      throw RlhfException.environment(
          "output_dir: cannot write to " + folder + " (" + RunFolder.reason(e) + ")", e);
    }
    try {
      if (channel.tryLock() != null && isStillThere(file, channel)) {
        return new RunLock(file, channel);
      }
    } catch (OverlappingFileLockException e) {
      close(channel, file);
      throw inUse(folder, e);
    } catch (IOException e) {
      console.warn(
          "output_dir: %s cannot be locked (%s); take care that no second run writes there"
              .formatted(folder, RunFolder.reason(e)));
      return new RunLock(file, channel);
    }
    close(channel, file);
    throw inUse(folder, null);
  }

  /**
   * Requires that no run has a folder, and leaves it as it is.
   *
   * @throws RlhfException if one has
   */
  static void requireFree(Path folder) {
    Path file = folder.resolve(FILE_NAME);
    if (!Files.exists(file)) {
      return;
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE);
        FileLock lock = channel.tryLock()) {
      if (lock == null) {
        throw inUse(folder, null);
      }
    } catch (OverlappingFileLockException e) {
      throw inUse(folder, e);
    } catch (IOException e) {
      throw RlhfException.environment(
          "output_dir: cannot write to " + folder + " (" + RunFolder.reason(e) + ")", e);
    }
  }

  /** Between opening and locking, the run that had the lock may have ended and deleted its file. */
  private static boolean isStillThere(Path file, FileChannel channel) throws IOException {
    String mark = UUID.randomUUID().toString();
    channel.truncate(0).write(ByteBuffer.wrap(mark.getBytes(StandardCharsets.US_ASCII)));
    return Files.exists(file) && Files.readString(file, StandardCharsets.ISO_8859_1).equals(mark);
  }

  private static RlhfException inUse(Path folder, Exception cause) {
    return RlhfException.environment(
        "output_dir: another run is writing to " + folder + "; wait for its end, or choose another",
        cause);
  }

  private static void close(FileChannel channel, Path file) {
    try {
      channel.close();
    } catch (IOException e) {
      throw RlhfException.environment("cannot close " + file, e);
    }
  }

  /** Deletes the file while it is still locked, so that nobody else's is deleted. */
  @Override
  public void close() {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw RlhfException.environment("cannot delete " + file, e);
    } finally {
      close(channel, file);
    }
  }
}
