package org.rlhf4j.core.data;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** Writes encoded rows as lines that {@link RowReader} reads back to the same rows. */
public final class TokenRowWriter {
  private static final JsonMapper JSON = new JsonMapper();

  private TokenRowWriter() {}

  /** {@code {"input_ids": […], "labels": […]}}, labels {@code -100} where a token is no target. */
  public static String line(TokenRow row) {
    ObjectNode line = JSON.createObjectNode();
    line.set(RowReader.INPUT_IDS, ids(row));
    ArrayNode labels = line.putArray(RowReader.LABELS);
    for (int i = 0; i < row.length(); i++) {
      labels.add(row.targets()[i] ? row.ids()[i] : RowReader.IGNORED);
    }
    return line.toString();
  }

  /** {@code {"chosen_input_ids": […], "rejected_input_ids": […], "margin": …}}. */
  public static String line(TokenPair pair) {
    ObjectNode line = JSON.createObjectNode();
    line.set(RowReader.CHOSEN_IDS, ids(pair.chosen()));
    line.set(RowReader.REJECTED_IDS, ids(pair.rejected()));
    return line.put(RowReader.MARGIN, pair.margin()).toString();
  }

  private static ArrayNode ids(TokenRow row) {
    ArrayNode ids = JSON.createArrayNode();
    for (int id : row.ids()) {
      ids.add(id);
    }
    return ids;
  }
}
