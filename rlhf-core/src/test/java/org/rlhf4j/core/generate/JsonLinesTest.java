package org.rlhf4j.core.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class JsonLinesTest {
  @TempDir Path folder;

  private List<Path> files() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.toList();
    }
  }

  @Test
  void aRowIsALine() throws IOException {
    Path file = folder.resolve("rows.jsonl");
    JsonLines.write(
        file,
        lines -> {
          lines.add(json -> json.writeStringField("a", "x\ny"));
          lines.add(json -> JsonLines.numbers(json, "b", new int[] {1, -2}));
          lines.add(json -> JsonLines.numbers(json, "c", new float[] {0.1f, 3}));
        });
    assertEquals("{\"a\":\"x\\ny\"}\n{\"b\":[1,-2]}\n{\"c\":[0.1,3.0]}\n", Files.readString(file));
    JsonLines.write(file, 2, (json, row) -> json.writeNumberField("row", row));
    assertEquals("{\"row\":0}\n{\"row\":1}\n", Files.readString(file));
    JsonLines.write(file, 0, (json, row) -> json.writeNumberField("row", row));
    assertEquals("", Files.readString(file));
  }

  /** Rows leave the memory while others are still to come, under another name than the file's. */
  @Test
  void rowsAreWrittenAsTheyCome() throws IOException {
    Path file = Files.writeString(folder.resolve("rows.jsonl"), "old");
    int rows = 100_000;
    JsonLines.write(
        file,
        lines -> {
          for (int row = 0; row < rows; row++) {
            int number = row;
            lines.add(json -> json.writeNumberField("row", number));
          }
          Path growing =
              files().stream().filter(one -> !one.equals(file)).findFirst().orElseThrow();
          // "{"row":10000}\n" has 14 bytes; at most a buffer of 64 KiB and Jackson's are behind.
          assertTrue(Files.size(growing) > 14L * (rows - 10_000) - (80 << 10));
          assertEquals("old", Files.readString(file));
        });
    assertEquals(List.of(file), files());
    assertEquals(rows, Files.readAllLines(file).size());
  }

  @Test
  void aFailureLeavesTheOldFile() throws IOException {
    Path file = Files.writeString(folder.resolve("rows.jsonl"), "old");
    assertThrows(
        IllegalStateException.class,
        () ->
            JsonLines.write(
                file,
                lines -> {
                  lines.add(json -> json.writeNumberField("row", 1));
                  throw new IllegalStateException("the model fails");
                }));
    assertEquals(List.of(file), files());
    assertEquals("old", Files.readString(file));
  }
}
