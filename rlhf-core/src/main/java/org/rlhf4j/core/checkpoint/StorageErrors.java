package org.rlhf4j.core.checkpoint;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import org.rlhf4j.core.RlhfException;

/** Turns what the operating system says about a file into one line for the user. */
final class StorageErrors {
  private StorageErrors() {}

  /** A file that should be there and readable. */
  static RlhfException unreadable(Path file, IOException cause) {
    return RlhfException.input(file + ": cannot be read: " + reason(cause), cause);
  }

  /** A file or folder that should be writable. */
  static RlhfException unwritable(Path file, IOException cause) {
    return RlhfException.environment(file + ": cannot be written: " + reason(cause), cause);
  }

  private static String reason(IOException cause) {
    if (cause instanceof NoSuchFileException) {
      return "no such file or folder";
    }
    if (cause instanceof AccessDeniedException) {
      return "permission denied";
    }
    if (cause instanceof NotDirectoryException) {
      return "not a folder";
    }
    if (cause instanceof FileAlreadyExistsException inTheWay) {
      return inTheWay.getFile() + " is in the way";
    }
    if (cause instanceof FileSystemException system && system.getReason() != null) {
      return system.getReason();
    }
    return cause.getMessage() == null ? cause.getClass().getSimpleName() : cause.getMessage();
  }
}
