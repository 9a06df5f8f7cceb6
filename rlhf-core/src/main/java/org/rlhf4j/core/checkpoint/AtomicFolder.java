package org.rlhf4j.core.checkpoint;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;

/**
 * A folder that appears under its name only when it is complete. Write into {@link #path()}, then
 * {@link #commit()}; closing without a commit removes everything. After a crash {@link
 * AtomicFiles#removeLeftovers} of the parent folder finds the old folder or the new one.
 *
 * <p>Failures of the disk are {@link org.rlhf4j.core.RlhfException}s of the environment. The caller
 * closes it.
 */
public final class AtomicFolder implements AutoCloseable {
  private final Path target;
  private final Path partial;
  private boolean committed;

  private AtomicFolder(Path target) {
    this.target = target;
    this.partial = AtomicFiles.partial(target);
  }

  /** Starts an empty folder that will become {@code target}; parents are created. */
  public static AtomicFolder create(Path target) {
    AtomicFolder folder = new AtomicFolder(target.toAbsolutePath());
    try {
      Files.createDirectories(folder.target.getParent());
      AtomicFiles.discard(folder.partial);
      Files.createDirectory(folder.partial);
    } catch (IOException e) {
      throw StorageErrors.unwritable(target, e);
    }
    return folder;
  }

  /** Where to write. */
  public Path path() {
    return partial;
  }

  /** Syncs every file and folder, then takes the final name, replacing a folder that has it. */
  public void commit() {
    Path old = AtomicFiles.replaced(target);
    try {
      syncTree(partial);
      if (Files.exists(target)) {
        AtomicFiles.discard(old);
        Files.move(target, old, StandardCopyOption.ATOMIC_MOVE);
      }
      Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE);
      committed = true;
      AtomicFiles.syncFolder(target.getParent());
      AtomicFiles.discard(old);
    } catch (IOException e) {
      restore(e);
      throw StorageErrors.unwritable(target, e);
    }
  }

  /** Removes what was written, unless it was committed. */
  @Override
  public void close() {
    if (!committed) {
      AtomicFiles.discard(partial);
    }
  }

  /** Gives the replaced folder its name back if the new one could not take it. */
  private void restore(IOException failure) {
    Path old = AtomicFiles.replaced(target);
    if (Files.exists(old) && !Files.exists(target)) {
      try {
        Files.move(old, target, StandardCopyOption.ATOMIC_MOVE);
      } catch (IOException e) {
        failure.addSuppressed(e);
      }
    }
  }

  private static void syncTree(Path root) throws IOException {
    Files.walkFileTree(
        root,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
              channel.force(true);
            }
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path folder, IOException failure)
              throws IOException {
            if (failure != null) {
              throw failure;
            }
            AtomicFiles.syncFolder(folder);
            return FileVisitResult.CONTINUE;
          }
        });
  }
}
