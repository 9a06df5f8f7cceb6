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

  private JsonLines() {}

  /** Writes one row's fields. */
  @FunctionalInterface
  public interface Row {
    /** Writes into the object of that row, which is open. */
    void write(JsonGenerator json, int row) throws IOException;
  }

  /** Replaces or creates the file. */
  public static void write(Path file, int rows, Row fields) {
    AtomicFiles.write(
        file,
        channel -> {
          // Not closed: the channel is its owner's.
          BufferedOutputStream out =
              new BufferedOutputStream(Channels.newOutputStream(channel), 1 << 16);
          JsonGenerator json = JSON.createGenerator(out);
          json.setPrettyPrinter(new MinimalPrettyPrinter("\n"));
          for (int row = 0; row < rows; row++) {
            json.writeStartObject();
            fields.write(json, row);
            json.writeEndObject();
          }
          if (rows > 0) {
            json.writeRaw('\n');
          }
          json.flush();
        });
  }

  /** A list of numbers, each with the digits that tell it from its neighbours. */
  static void numbers(JsonGenerator json, String name, float[] values) throws IOException {
    json.writeArrayFieldStart(name);
    for (float value : values) {
      json.writeNumber(value);
    }
    json.writeEndArray();
  }
}
