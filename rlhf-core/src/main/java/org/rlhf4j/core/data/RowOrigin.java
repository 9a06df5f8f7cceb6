package org.rlhf4j.core.data;

import java.nio.file.Path;

/**
 * Where a row stands.
 *
 * @param file the data file
 * @param line its line, from 1
 * @param index the row's number in the whole data set, from 0, bad rows counted
 */
public record RowOrigin(Path file, int line, int index) {
  @Override
  public String toString() {
    return file + ":" + line;
  }
}
