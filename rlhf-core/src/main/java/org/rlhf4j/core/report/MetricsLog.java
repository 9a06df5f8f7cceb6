package org.rlhf4j.core.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;

/**
 * {@code metrics.jsonl}: one JSON object per line, in the order in which things happened. Every row
 * has an integral {@code step}. Numbers keep their full precision; one that is not finite is
 * refused.
 *
 * <p>A checkpoint of step N is written after all rows of step N, so a resumed run that cuts the
 * file back to N ends with the rows of the uninterrupted one, but for the fields of {@link
 * MetricNames#isWallClock}.
 */
public final class MetricsLog implements AutoCloseable {
  /** The file's name within {@code output_dir}. */
  public static final String FILE_NAME = "metrics.jsonl";

  private final Path file;
  private final FileChannel channel;
  private final List<Map<String, Object>> rows;

  private MetricsLog(Path file, FileChannel channel, List<Map<String, Object>> rows) {
    this.file = file;
    this.channel = channel;
    this.rows = rows;
  }

  /** Starts a new file; one that exists is replaced. */
  public static MetricsLog create(Path file) {
    AtomicFiles.write(file, new byte[0]);
    return open(file, new ArrayList<>());
  }

  /**
   * Continues after the checkpoint of {@code step}: rows of later steps and a torn last line are
   * removed, in one atomic rewrite; a file that does not exist is begun. A run that died before its
   * first checkpoint starts anew with {@link #create} instead.
   */
  public static MetricsLog resume(Path file, long step) {
    return resume(file, step, Long.MAX_VALUE);
  }

  /**
   * As {@link #resume(Path, long)}, and keeps no more than the first {@code most} rows: for a
   * method that writes rows of step N after the checkpoint of step N too.
   */
  public static MetricsLog resume(Path file, long step, long most) {
    if (!Files.exists(file)) {
      return create(file);
    }
    StringBuilder kept = new StringBuilder();
    List<Map<String, Object>> rows = new ArrayList<>();
    for (Line line : lines(file)) {
      if (rows.size() < most && (Long) line.row.get(MetricNames.STEP) <= step) {
        kept.append(line.text).append('\n');
        rows.add(line.row);
      }
    }
    AtomicFiles.write(file, kept.toString().getBytes(StandardCharsets.UTF_8));
    return open(file, rows);
  }

  /**
   * All rows of a file, numbers as {@code Long} or {@code Double}. A torn last line is left out.
   */
  public static List<Map<String, Object>> read(Path file) {
    List<Map<String, Object>> rows = new ArrayList<>();
    lines(file).forEach(line -> rows.add(line.row));
    return Collections.unmodifiableList(rows);
  }

  /**
   * Writes one row and hands it to the operating system before returning.
   *
   * @param row ordered fields: numbers, strings, booleans, lists of these, or null
   * @throws RlhfException of a non-finite number, naming its step and field
   */
  public synchronized void append(Map<String, ?> row) {
    Object step = row.get(MetricNames.STEP);
    if (!(step instanceof Long || step instanceof Integer)) {
      throw new IllegalArgumentException("a metrics row needs an integral step, found " + step);
    }
    Map<String, Object> plain = new LinkedHashMap<>();
    row.forEach((name, value) -> plain.put(name, plain(value, "step " + step + ": " + name)));
    try {
      String line = ReportFiles.JSON.writeValueAsString(plain) + "\n";
      ReportFiles.writeFully(channel, line.getBytes(StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw ReportFiles.cannotWrite(file, e);
    }
    rows.add(Collections.unmodifiableMap(plain));
  }

  /** All rows of the run so far, those before a resume included. */
  public synchronized List<Map<String, Object>> rows() {
    return List.copyOf(rows);
  }

  /** The rows without wall-clock fields: {@code log_history} of {@link TrainerState}. */
  public synchronized List<Map<String, Object>> logHistory() {
    List<Map<String, Object>> history = new ArrayList<>();
    for (Map<String, Object> row : rows) {
      Map<String, Object> entry = new LinkedHashMap<>(row);
      entry.keySet().removeIf(MetricNames::isWallClock);
      history.add(entry);
    }
    return history;
  }

  /** Forces what was written onto the disk; call before a checkpoint is completed. */
  public synchronized void sync() {
    try {
      channel.force(true);
    } catch (IOException e) {
      throw ReportFiles.cannotWrite(file, e);
    }
  }

  @Override
  public synchronized void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw ReportFiles.cannotWrite(file, e);
    }
  }

  private static MetricsLog open(Path file, List<Map<String, Object>> rows) {
    try {
      FileChannel channel =
          FileChannel.open(file, StandardOpenOption.WRITE, StandardOpenOption.APPEND);
      return new MetricsLog(file, channel, rows);
    } catch (IOException e) {
      throw ReportFiles.cannotWrite(file, e);
    }
  }

  private record Line(String text, Map<String, Object> row) {}

  private static List<Line> lines(Path file) {
    String content;
    try {
      // Malformed bytes of a torn last line must not make the rest unreadable.
      content = new String(Files.readAllBytes(file), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw RlhfException.input("cannot read " + file + ": " + ReportFiles.reason(e), e);
    }
    List<Line> lines = new ArrayList<>();
    int number = 0;
    for (int start = 0; start < content.length(); ) {
      number++;
      int end = content.indexOf('\n', start);
      boolean unfinished = end < 0;
      String text = content.substring(start, unfinished ? content.length() : end);
      start = unfinished ? content.length() : end + 1;
      try {
        lines.add(new Line(text, parse(text)));
      } catch (JsonProcessingException e) {
        // Only the end of the file can be torn by a kill: a row and its newline are one write.
        if (!unfinished) {
          throw RlhfException.input(
              file + ", line " + number + ": not a metrics row: " + e.getOriginalMessage(), e);
        }
      }
    }
    return lines;
  }

  private static Map<String, Object> parse(String text) throws JsonProcessingException {
    Map<String, Object> row =
        ReportFiles.JSON.readValue(text, new TypeReference<LinkedHashMap<String, Object>>() {});
    if (row == null || !(row.get(MetricNames.STEP) instanceof Long)) {
      throw new NotARow();
    }
    return Collections.unmodifiableMap(row);
  }

  private static final class NotARow extends JsonProcessingException {
    private static final long serialVersionUID = 1L;

    NotARow() {
      super("no integral step");
    }
  }

  private static Object plain(Object value, String place) {
    if (value == null || value instanceof String || value instanceof Boolean) {
      return value;
    }
    if (value instanceof Double || value instanceof Float) {
      double number = ((Number) value).doubleValue();
      if (!Double.isFinite(number)) {
        throw RlhfException.nonFinite(FILE_NAME + ", " + place + " is " + number);
      }
      return number;
    }
    if (value instanceof Long || value instanceof Integer) {
      return ((Number) value).longValue();
    }
    if (value instanceof List<?> list) {
      List<Object> plain = new ArrayList<>();
      list.forEach(element -> plain.add(plain(element, place)));
      return Collections.unmodifiableList(plain);
    }
    throw new IllegalArgumentException(
        place + " is a " + value.getClass().getName() + "; metrics are numbers, text and lists");
  }
}
