package org.rlhf4j.ppo.group;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;

/**
 * {@code rollout.jsonl} of a checkpoint: the roll-out that is being learned from, a response a
 * line. Every number is written so that reading it gives the same bits.
 */
final class GroupSampleFile {
  private static final JsonMapper JSON =
      JsonMapper.builder().propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE).build();

  private GroupSampleFile() {}

  static void write(Path file, List<GroupSample> samples) {
    ObjectWriter writer = JSON.writerFor(GroupSample.class);
    StringBuilder lines = new StringBuilder();
    for (GroupSample sample : samples) {
      try {
        lines.append(writer.writeValueAsString(sample)).append('\n');
      } catch (JsonProcessingException e) {
        throw new IllegalArgumentException("not writable as JSON: " + sample, e);
      }
    }
    AtomicFiles.write(file, lines.toString().getBytes(StandardCharsets.UTF_8));
  }

  /**
   * Reads what {@link #write} wrote.
   *
   * @throws RlhfException by file and line where it is something else
   */
  static List<GroupSample> read(Path file) {
    ObjectReader reader = JSON.readerFor(GroupSample.class);
    List<GroupSample> samples = new ArrayList<>();
    try {
      for (String line : Files.readAllLines(file)) {
        samples.add(reader.readValue(line));
      }
    } catch (JsonProcessingException e) {
      throw RlhfException.input(
          "%s:%d: is no response of a roll-out: %s"
              .formatted(file, samples.size() + 1, e.getOriginalMessage()),
          e);
    } catch (IOException e) {
      throw RlhfException.input(file + ": cannot be read: " + e.getMessage(), e);
    }
    return samples;
  }
}
