package org.rlhf4j.core.testing;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.report.MetricNames;

/** Compares the output folders of runs that should have done the same. */
public final class SameRuns {
  private static final JsonMapper JSON = new JsonMapper();

  private SameRuns() {}

  /**
   * Requires equal bytes of {@code model.safetensors}, and equal rows of {@code metrics.jsonl} but
   * for their wall-clock fields.
   */
  public static void assertSame(Path expected, Path found) throws IOException {
    assertEquals(metrics(expected), metrics(found));
    assertSameFile(expected, found, "model.safetensors");
  }

  /** Requires equal bytes of a file of both folders. */
  public static void assertSameFile(Path expected, Path found, String name) throws IOException {
    assertArrayEquals(
        Files.readAllBytes(expected.resolve(name)),
        Files.readAllBytes(found.resolve(name)),
        name + " of " + expected + " and " + found);
  }

  /** The rows of a run's {@code metrics.jsonl}, numbers as written, without wall-clock fields. */
  public static List<Map<String, Object>> metrics(Path outputDir) throws IOException {
    List<Map<String, Object>> rows = new ArrayList<>();
    for (String line : Files.readAllLines(outputDir.resolve("metrics.jsonl"))) {
      Map<String, Object> row =
          JSON.readValue(line, new TypeReference<LinkedHashMap<String, Object>>() {});
      row.keySet().removeIf(MetricNames::isWallClock);
      rows.add(row);
    }
    return rows;
  }
}
