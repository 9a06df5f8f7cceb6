package org.rlhf4j.core.checkpoint;

import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Optional;
import org.rlhf4j.core.RlhfException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Writes files so that a crash at any moment leaves the old content or the new one: the content
 * goes to a temporary name in the same folder, is synced to the disk, and is then renamed.
 *
 * <p>A failure of the disk (full, read-only, no permission) is an {@link RlhfException} with the
 * exit code of the environment, and leaves no temporary file.
 */
public final class AtomicFiles {
  private static final Logger LOG = LoggerFactory.getLogger(AtomicFiles.class);
  private static final String PARTIAL_PREFIX = ".rlhf4j-partial-";
  private static final String REPLACED_PREFIX = ".rlhf4j-replaced-";

  private AtomicFiles() {}

  /** Writes the content of a file. */
  @FunctionalInterface
  public interface Content {
    /** Writes everything, from the channel's beginning on. */
    void writeTo(FileChannel channel) throws IOException;
  }

  /** Replaces or creates a file; missing parent folders are created. */
  public static void write(Path target, byte[] content) {
    write(target, channel -> writeFully(channel, ByteBuffer.wrap(content)));
  }

  /** Replaces or creates a file; missing parent folders are created. */
  public static void write(Path target, Content content) {
    Path absolute = target.toAbsolutePath();
    stage(absolute, content);
    publish(absolute);
    syncFolder(absolute.getParent());
  }

  /**
   * Finds out early whether a file can be written later: makes missing parent folders and a
   * temporary file beside the target, which it deletes again. The target itself is not touched.
   * Where a signal ends the process while the file is being written, the temporary file goes too.
   */
  public static void requireWritable(Path target) {
    Path absolute = target.toAbsolutePath();
    requireNoFolder(target);
    stage(absolute, channel -> {});
    discard(partial(absolute));
    partial(absolute).toFile().deleteOnExit();
  }

  /**
   * As {@link #requireWritable}, for a look that makes nothing: what only writing would show, such
   * as a full disk, stays unseen.
   */
  public static void requireMayBeWritten(Path target) {
    requireNoFolder(target);
    hindrance(target.toAbsolutePath().getParent())
        .ifPresent(
            reason -> {
              throw RlhfException.environment(target + ": cannot be written: " + reason, null);
            });
  }

  /**
   * What forbids to write into a folder, or to make it, where the nearest one that is there says.
   *
   * @param folder absolute
   */
  public static Optional<String> hindrance(Path folder) {
    Path nearest = folder;
    while (!Files.exists(nearest) && nearest.getParent() != null) {
      nearest = nearest.getParent();
    }
    if (!Files.isDirectory(nearest)) {
      return Optional.of(nearest + " is a file");
    }
    return Files.isWritable(nearest)
        ? Optional.empty()
        : Optional.of(nearest + " may not be written");
  }

  private static void requireNoFolder(Path target) {
    if (Files.isDirectory(target)) {
      throw RlhfException.environment(
          target + ": cannot be written: a folder of that name is in the way", null);
    }
  }

  /** Replaces or creates {@code target} with the bytes of {@code source}. */
  public static void copy(Path source, Path target) {
    FileChannel opened;
    try {
      opened = FileChannel.open(source, StandardOpenOption.READ);
    } catch (IOException e) {
      throw StorageErrors.unreadable(source, e);
    }
    try (FileChannel from = opened) {
      write(
          target,
          channel -> {
            ByteBuffer buffer = ByteBuffer.allocate(1 << 20);
            while (from.read(buffer.clear()) >= 0) {
              writeFully(channel, buffer.flip());
            }
          });
    } catch (IOException e) {
      throw StorageErrors.unreadable(source, e);
    }
  }

  /**
   * Deletes a folder; after a crash it is there as a whole or {@link #removeLeftovers} finds it.
   */
  public static void deleteFolder(Path folder) {
    Path absolute = folder.toAbsolutePath();
    Path leaving = partial(absolute);
    try {
      discard(leaving);
      Files.move(absolute, leaving, StandardCopyOption.ATOMIC_MOVE);
      deleteTree(leaving);
    } catch (IOException e) {
      throw StorageErrors.unwritable(folder, e);
    }
  }

  /**
   * Brings a folder back in order after a crash: deletes files and folders that were never
   * completed, and restores a folder that was just being replaced. Looks at the folder's own
   * entries only; a missing folder has nothing to clean.
   */
  public static void removeLeftovers(Path folder) {
    if (!Files.isDirectory(folder)) {
      return;
    }
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder, ".rlhf4j-*")) {
      for (Path entry : entries) {
        String name = entry.getFileName().toString();
        if (name.startsWith(PARTIAL_PREFIX)) {
          deleteTree(entry);
        } else if (name.startsWith(REPLACED_PREFIX)) {
          Path original = folder.resolve(name.substring(REPLACED_PREFIX.length()));
          if (Files.exists(original, LinkOption.NOFOLLOW_LINKS)) {
            deleteTree(entry);
          } else {
            Files.move(entry, original, StandardCopyOption.ATOMIC_MOVE);
          }
        }
      }
    } catch (IOException e) {
      throw StorageErrors.unwritable(folder, e);
    }
  }

  /** The name under which {@code target} grows. */
  static Path partial(Path target) {
    return target.resolveSibling(PARTIAL_PREFIX + target.getFileName());
  }

  /** The name under which the old {@code target} waits while the new one takes its place. */
  static Path replaced(Path target) {
    return target.resolveSibling(REPLACED_PREFIX + target.getFileName());
  }

  /** Writes and syncs the content under the temporary name. */
  static void stage(Path target, Content content) {
    Path partial = partial(target);
    boolean complete = false;
    try {
      Files.createDirectories(target.getParent());
      try (FileChannel channel =
          FileChannel.open(
              partial,
              StandardOpenOption.CREATE,
              StandardOpenOption.TRUNCATE_EXISTING,
              StandardOpenOption.WRITE)) {
        content.writeTo(channel);
        channel.force(true);
      }
      complete = true;
    } catch (IOException e) {
      throw StorageErrors.unwritable(target, e);
    } finally {
      if (!complete) {
        discard(partial);
      }
    }
  }

  /** Gives the staged content its name. */
  static void publish(Path target) {
    Path partial = partial(target);
    try {
      Files.move(
          partial, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      discard(partial);
      throw StorageErrors.unwritable(target, e);
    }
  }

  /** Makes the folder's entries themselves survive a power cut. */
  static void syncFolder(Path folder) {
    // Windows cannot open a folder as a file and keeps its entries in a journal.
    if (File.separatorChar == '\\') {
      return;
    }
    try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
      channel.force(true);
    } catch (IOException e) {
      throw StorageErrors.unwritable(folder, e);
    }
  }

  static void writeFully(FileChannel channel, ByteBuffer content) throws IOException {
    while (content.hasRemaining()) {
      channel.write(content);
    }
  }

  /** Deletes a file or a folder with all that is in it; links are not followed. */
  static void deleteTree(Path root) throws IOException {
    Files.walkFileTree(
        root,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            Files.delete(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path folder, IOException failure)
              throws IOException {
            if (failure != null) {
              throw failure;
            }
            Files.delete(folder);
            return FileVisitResult.CONTINUE;
          }
        });
  }

  /** Deletes what is left of a failed write; the failure itself is what the caller reports. */
  static void discard(Path partial) {
    if (!Files.exists(partial, LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    try {
      deleteTree(partial);
    } catch (IOException e) {
      LOG.warn("temporary file left behind: {}", partial, e);
    }
  }
}
