package org.rlhf4j.core.train;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;
import org.rlhf4j.core.RlhfException;

/**
 * Keeps a second process out of a run's folder: a file in it that is locked while the run is open.
 * The operating system gives the lock back where a process is killed; its file, which then stays,
 * is taken over by the next run.
 *
 * <p>On POSIX systems a process gives up all its locks on a file when it closes the file anywhere.
 * So while a run is open, nothing else in its process may open the lock's file: a process that
 * trains in a folder must not begin, or look at, a second run of that folder.
 */
final class RunLock implements AutoCloseable {
  static final String FILE_NAME = ".rlhf4j-lock";
  private static final int LARGEST_MARK = 1 << 20;

  private final Path file;
  private final FileChannel channel;

  private RunLock(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /**
   * Locks a folder.
   *
   * @param warnings told where the file system has no locks
   * @return closed by the caller, which unlocks the folder
   * @throws RlhfException if another run has it, or nothing can be written there
   */
  static RunLock take(Path folder, Consumer<String> warnings) {
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
      warnings.accept(withoutLocks(folder, e));
      return new RunLock(file, channel);
    }
    close(channel, file);
    throw inUse(folder, null);
  }

  /**
   * Requires that no run has a folder, and leaves it as it is. Looking is locking, for a moment: of
   * two looks neither sees the other, but a run that begins in that moment is refused.
   *
   * @param warnings told where the file system has no locks
   * @throws RlhfException if one has
   */
  static void requireFree(Path folder, Consumer<String> warnings) {
    FileChannel channel;
    try {
      channel = FileChannel.open(folder.resolve(FILE_NAME), StandardOpenOption.READ);
    } catch (NoSuchFileException e) {
      return;
    } catch (IOException e) {
      throw RlhfException.environment(
          "output_dir: cannot write to " + folder + " (" + RunFolder.reason(e) + ")", e);
    }
    try (channel) {
      if (channel.tryLock(0, Long.MAX_VALUE, true) == null) {
        throw inUse(folder, null);
      }
    } catch (OverlappingFileLockException e) {
      throw inUse(folder, e);
    } catch (IOException e) {
      warnings.accept(withoutLocks(folder, e));
    }
  }

  /**
   * Between opening and locking, the run that had the lock may have ended and deleted its file: the
   * name is gone then, or another file has it. That is found out by a size that no other file has,
   * since opening the file once more, and closing it, would give up the lock.
   */
  private static boolean isStillThere(Path file, FileChannel channel) throws IOException {
    int size = ThreadLocalRandom.current().nextInt(1, LARGEST_MARK);
    channel.truncate(0).write(ByteBuffer.allocate(1), size - 1L);
    try {
      return Files.size(file) == size;
    } catch (NoSuchFileException e) {
      return false;
    } finally {
      channel.truncate(0);
    }
  }

  private static String withoutLocks(Path folder, IOException cause) {
    return "output_dir: %s cannot be locked (%s); take care that no second run writes there"
        .formatted(folder, RunFolder.reason(cause));
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
