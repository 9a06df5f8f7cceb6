package org.rlhf4j.core.generate;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.util.MinimalPrettyPrinter;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.file.Path;
import org.rlhf4j.core.checkpoint.AtomicFiles;

/** Writes a file of one JSON object a line, whole or not at all. */
public final class JsonLines {
  private static final JsonFactory JSON = new JsonFactory();

  private final JsonGenerator json;

  private JsonLines(JsonGenerator json) {
    this.json = json;
  }

  /** Writes all rows, one after the other. */
  @FunctionalInterface
  interface Rows {
    /** Calls {@link JsonLines#add} for each row; what was added is not kept in memory. */
    void writeTo(JsonLines lines) throws IOException;
  }

  /** Writes one row's fields. */
  @FunctionalInterface
  interface Fields {
    /** Writes into the object of that row, which is open. */
    void write(JsonGenerator json) throws IOException;
  }

  /** Writes the fields of a row by its number. */
  @FunctionalInterface
  public interface Row {
    /** Writes into the object of that row, which is open. */
    void write(JsonGenerator json, int row) throws IOException;
  }

  /** Replaces or creates the file. */
  public static void write(Path file, int rows, Row fields) {
    write(
        file,
        lines -> {
          for (int row = 0; row < rows; row++) {
            int number = row;
            lines.add(json -> fields.write(json, number));
          }
        });
  }

  /**
   * Replaces or creates the file with rows that come one after the other. Where {@code rows} throws
   * nothing is left of them.
   */
  static void write(Path file, Rows rows) {
    AtomicFiles.write(
        file,
        channel -> {
          // Not closed: the channel is its owner's.
          BufferedOutputStream out =
              new BufferedOutputStream(Channels.newOutputStream(channel), 1 << 16);
          JsonGenerator json = JSON.createGenerator(out);
          json.setPrettyPrinter(new MinimalPrettyPrinter(""));
          rows.writeTo(new JsonLines(json));
          json.flush();
        });
  }

  /** Writes the next row. */
  void add(Fields fields) throws IOException {
    json.writeStartObject();
    fields.write(json);
    json.writeEndObject();
    json.writeRaw('\n');
  }

  /** A list of numbers, each with the digits that tell it from its neighbours. */
  static void numbers(JsonGenerator json, String name, float[] values) throws IOException {
    json.writeArrayFieldStart(name);
    for (float value : values) {
      json.writeNumber(value);
    }
    json.writeEndArray();
  }

  /** A list of token ids. */
  static void numbers(JsonGenerator json, String name, int[] values) throws IOException {
    json.writeFieldName(name);
    json.writeArray(values, 0, values.length);
  }
}
