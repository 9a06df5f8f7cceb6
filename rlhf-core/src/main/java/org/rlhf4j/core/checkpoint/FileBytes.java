package org.rlhf4j.core.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.rlhf4j.core.RlhfException;

/**
 * The bytes of a file, read where they are wanted. A mapping would do too, but its pages count as
 * this process's memory until they are evicted, and a file that another process cuts short would
 * end the JVM. Thread-safe. Needs no closing: the file is let go when this object is collected.
 */
final class FileBytes {
  /** The JDK keeps a native buffer of the size of a thread's largest read. */
  private static final int PIECE_BYTES = 1 << 18;

  private final Path path;
  private final FileChannel channel;
  private final long size;

  private FileBytes(Path path, FileChannel channel, long size) {
    this.path = path;
    this.channel = channel;
    this.size = size;
  }

  /**
   * Opens a file.
   *
   * @throws RlhfException when it is missing, a folder or unreadable
   */
  static FileBytes open(Path path) {
    if (Files.isDirectory(path)) {
      throw RlhfException.input(path + ": a file is expected, found a folder");
    }
    try {
      FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
      return new FileBytes(path, channel, channel.size());
    } catch (IOException e) {
      throw StorageErrors.unreadable(path, e);
    }
  }

  /** Where the file lies. */
  Path path() {
    return path;
  }

  /** Bytes in the file when it was opened. */
  long size() {
    return size;
  }

  /** Fills the whole remaining part of {@code target} with what begins at a byte of the file. */
  void read(long position, ByteBuffer target) {
    int end = target.limit();
    try {
      while (target.position() < end) {
        target.limit(Math.min(end, target.position() + PIECE_BYTES));
        int count = channel.read(target, position);
        if (count < 0) {
          throw new IOException("the file became shorter while it was read");
        }
        position += count;
      }
    } catch (IOException e) {
      throw StorageErrors.unreadable(path, e);
    } finally {
      target.limit(end);
    }
  }

  /** Some bytes of the file, little-endian. */
  ByteBuffer read(long position, int length) {
    ByteBuffer buffer = ByteBuffer.allocate(length);
    read(position, buffer);
    return buffer.flip().order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Some bytes of the file as memory that is filled on access, little-endian. */
  ByteBuffer map(long position, int length) {
    try {
      return channel
          .map(FileChannel.MapMode.READ_ONLY, position, length)
          .order(ByteOrder.LITTLE_ENDIAN);
    } catch (IOException e) {
      throw StorageErrors.unreadable(path, e);
    }
  }
}
