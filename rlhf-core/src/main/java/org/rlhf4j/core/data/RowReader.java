package org.rlhf4j.core.data;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.zip.GZIPInputStream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.text.Message;

/**
 * Reads rows from JSON Lines files, plain or gzip ({@code .gz}), one object a line.
 *
 * <p>A row's form is the set of those columns that this class knows; other columns are allowed and
 * ignored, a column that is null counts as absent. A line that is no row of exactly one form is a
 * {@link BadRow}. Blank lines are no rows.
 */
public final class RowReader {
  private static final String TEXT = "text";
  private static final String PROMPT = "prompt";
  private static final String COMPLETION = "completion";
  private static final String MESSAGES = "messages";
  private static final String CHOSEN = "chosen";
  private static final String REJECTED = "rejected";
  static final String MARGIN = "margin";
  static final String INPUT_IDS = "input_ids";
  static final String LABELS = "labels";
  static final String CHOSEN_IDS = "chosen_input_ids";
  static final String REJECTED_IDS = "rejected_input_ids";
  private static final String RESPONSES = "responses";
  private static final String PROMPT_IDS = "prompt_token_ids";

  /** The columns that decide the form, and {@code labels}, which goes with input_ids only. */
  private static final List<String> COLUMNS =
      List.of(
          TEXT,
          PROMPT,
          COMPLETION,
          MESSAGES,
          CHOSEN,
          REJECTED,
          INPUT_IDS,
          LABELS,
          CHOSEN_IDS,
          REJECTED_IDS,
          RESPONSES);

  private static final String FORMS =
      "text | prompt | prompt, completion | messages | prompt, chosen, rejected | chosen, rejected"
          + " | input_ids | input_ids, labels | chosen_input_ids, rejected_input_ids"
          + " | prompt, responses | input_ids, responses";

  /** The label of a token that is no target. */
  static final int IGNORED = -100;

  private static final ObjectMapper JSON =
      JsonMapper.builder()
          .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private final Consumer<Example> rows;
  private final Consumer<BadRow> badRows;
  private final MessageDigest digest;
  private int index;

  private RowReader(Consumer<Example> rows, Consumer<BadRow> badRows, MessageDigest digest) {
    this.rows = rows;
    this.badRows = badRows;
    this.digest = digest;
  }

  /**
   * Reads files one after the other, row by row.
   *
   * @param paths the files, in order
   * @param rows takes each usable row
   * @param badRows takes each other one
   * @param digest is fed the files' unpacked contents
   * @return the number of rows met
   * @throws RlhfException if a file cannot be read; the message names it
   */
  public static int read(
      List<Path> paths, Consumer<Example> rows, Consumer<BadRow> badRows, MessageDigest digest) {
    RowReader reader = new RowReader(rows, badRows, digest);
    paths.forEach(reader::readFile);
    return reader.index;
  }

  private void readFile(Path file) {
    if (!Files.isRegularFile(file)) {
      throw RlhfException.input(
          file
              + (Files.isDirectory(file)
                  ? ": is a folder, not a data file"
                  : ": no such data file"));
    }
    int line = 0;
    try (InputStream in = open(file)) {
      for (byte[] bytes = nextLine(in); bytes != null; bytes = nextLine(in)) {
        line++;
        digest.update(bytes);
        digest.update((byte) '\n');
        readLine(file, line, bytes);
      }
    } catch (IOException e) {
      throw RlhfException.input(
          "%s: cannot be read after line %s: %s".formatted(file, line, e.getMessage()), e);
    }
  }

  private static InputStream open(Path file) throws IOException {
    InputStream stored = new BufferedInputStream(Files.newInputStream(file), 1 << 16);
    if (!file.getFileName().toString().endsWith(".gz")) {
      return stored;
    }
    try {
      return new BufferedInputStream(new GZIPInputStream(stored, 1 << 16), 1 << 16);
    } catch (IOException e) {
      stored.close();
      throw e;
    }
  }

  /** The bytes up to the next line feed, without it; null at the end. */
  private static byte[] nextLine(InputStream in) throws IOException {
    int next = in.read();
    if (next < 0) {
      return null;
    }
    ByteArrayOutputStream line = new ByteArrayOutputStream(512);
    for (; next >= 0 && next != '\n'; next = in.read()) {
      line.write(next);
    }
    return line.toByteArray();
  }

  private void readLine(Path file, int line, byte[] bytes) {
    RowOrigin origin = new RowOrigin(file, line, index);
    try {
      String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
      if (line == 1 && text.startsWith("\uFEFF")) {
        text = text.substring(1);
      }
      if (text.isBlank()) {
        return;
      }
      index++;
      rows.accept(parse(origin, text));
    } catch (CharacterCodingException e) {
      index++;
      badRows.accept(new BadRow(origin, "not UTF-8"));
    } catch (JsonProcessingException e) {
      badRows.accept(
          new BadRow(
              origin,
              "broken JSON at column %s: %s"
                  .formatted(
                      e.getLocation().getColumnNr(),
                      // Jackson's place of the bracket is that in its own buffer.
                      e.getOriginalMessage().replaceFirst(" \\(start marker at .*", ""))));
    } catch (UnusableRow e) {
      badRows.accept(new BadRow(origin, e.getMessage()));
    }
  }

  private static final class UnusableRow extends Exception {
    private static final long serialVersionUID = 1L;

    UnusableRow(String reason) {
      super(reason);
    }
  }

  private static Example parse(RowOrigin origin, String text)
      throws JsonProcessingException, UnusableRow {
    JsonNode row = JSON.readTree(text);
    if (!row.isObject()) {
      throw new UnusableRow("not a JSON object");
    }
    Set<String> columns = new TreeSet<>();
    COLUMNS.stream().filter(row::hasNonNull).forEach(columns::add);
    if (columns.equals(Set.of(TEXT))) {
      return new Example.Text(origin, string(row.path(TEXT), TEXT));
    }
    if (columns.equals(Set.of(PROMPT))) {
      return new Example.Prompt(origin, string(row.path(PROMPT), PROMPT));
    }
    if (columns.equals(Set.of(PROMPT, COMPLETION))) {
      return new Example.Completion(
          origin, string(row.path(PROMPT), PROMPT), string(row.path(COMPLETION), COMPLETION));
    }
    if (columns.equals(Set.of(MESSAGES))) {
      return new Example.Conversation(origin, messages(row.path(MESSAGES)));
    }
    if (columns.equals(Set.of(PROMPT, CHOSEN, REJECTED))) {
      return new Example.Preference(
          origin,
          string(row.path(PROMPT), PROMPT),
          string(row.path(CHOSEN), CHOSEN),
          string(row.path(REJECTED), REJECTED),
          margin(row));
    }
    if (columns.equals(Set.of(CHOSEN, REJECTED))) {
      return new Example.Dialogues(
          origin,
          string(row.path(CHOSEN), CHOSEN),
          string(row.path(REJECTED), REJECTED),
          margin(row));
    }
    if (columns.equals(Set.of(INPUT_IDS))) {
      return new Example.Tokens(origin, TokenRow.allTargets(ids(row, INPUT_IDS)));
    }
    if (columns.equals(Set.of(INPUT_IDS, LABELS))) {
      return new Example.Tokens(origin, labelled(row));
    }
    if (columns.equals(Set.of(CHOSEN_IDS, REJECTED_IDS))) {
      return new Example.TokensPreference(
          origin,
          new TokenPair(
              TokenRow.allTargets(ids(row, CHOSEN_IDS)),
              TokenRow.allTargets(ids(row, REJECTED_IDS)),
              margin(row)));
    }
    if (columns.contains(RESPONSES) && Set.of(PROMPT, INPUT_IDS, RESPONSES).containsAll(columns)) {
      return responses(origin, row);
    }
    throw new UnusableRow(
        (columns.isEmpty()
                ? "no known column"
                    + (row.isEmpty() ? "" : " among " + namesOf(row))
                    + ": no form of row"
                : "columns " + String.join(", ", columns) + " are no form of row")
            + "; allowed: "
            + FORMS);
  }

  private static String namesOf(JsonNode row) {
    List<String> names = new ArrayList<>();
    row.fieldNames().forEachRemaining(names::add);
    return String.join(", ", names);
  }

  private static String string(JsonNode node, String name) throws UnusableRow {
    if (!node.isTextual()) {
      throw new UnusableRow(name + " must be a string, is " + typeName(node));
    }
    String text = node.textValue();
    if (text.isEmpty()) {
      throw new UnusableRow(name + " is empty");
    }
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
      throw new UnusableRow(name + " holds half of a surrogate pair, which is no character");
    }
    return text;
  }

  private static Example responses(RowOrigin origin, JsonNode row) throws UnusableRow {
    JsonNode index = row.path("index");
    if (!index.isIntegralNumber() || !index.canConvertToInt()) {
      throw new UnusableRow("a row with responses needs an integer index");
    }
    JsonNode written = row.path(RESPONSES);
    if (!written.isArray() || written.isEmpty()) {
      throw new UnusableRow("responses must be a list with at least one response");
    }
    // A model without a tokenizer leaves its texts empty.
    boolean hasText = !row.path(PROMPT).asText().isEmpty() || row.path(PROMPT).isContainerNode();
    String prompt = hasText ? string(row.path(PROMPT), PROMPT) : null;
    String idsColumn = row.hasNonNull(PROMPT_IDS) ? PROMPT_IDS : INPUT_IDS;
    int[] promptIds = row.hasNonNull(idsColumn) ? ids(row, idsColumn) : null;
    if (prompt == null && promptIds == null) {
      throw new UnusableRow(
          "responses without their prompt: needs prompt, prompt_token_ids or input_ids");
    }
    List<Example.Response> responses = new ArrayList<>();
    for (JsonNode one : written) {
      String place = "responses[" + responses.size() + "].";
      JsonNode text = one.path(TEXT);
      if (one.hasNonNull(TEXT) && !text.asText().isEmpty()) {
        string(text, place + TEXT);
      }
      boolean hasIds = one.hasNonNull("token_ids");
      if (!text.isTextual() && !hasIds) {
        throw new UnusableRow(place + "text is missing");
      }
      responses.add(
          new Example.Response(
              prompt,
              text.textValue(),
              promptIds,
              hasIds ? integers(one.path("token_ids"), place + "token_ids") : null));
    }
    return new Example.Responses(origin, index.intValue(), List.copyOf(responses));
  }

  private static double margin(JsonNode row) throws UnusableRow {
    JsonNode node = row.path(MARGIN);
    if (node.isMissingNode() || node.isNull()) {
      return 0;
    }
    if (!node.isNumber() || !Double.isFinite(node.doubleValue())) {
      throw new UnusableRow(
          "margin must be a finite number, is "
              + (node.isNumber() ? node.doubleValue() : typeName(node)));
    }
    return node.doubleValue();
  }

  private static List<Message> messages(JsonNode node) throws UnusableRow {
    if (!node.isArray() || node.isEmpty()) {
      throw new UnusableRow("messages must be a list with at least one message");
    }
    List<Message> messages = new ArrayList<>();
    for (JsonNode message : node) {
      String place = "messages[" + messages.size() + "]";
      String role = string(message.path("role"), place + ".role");
      Message.Role known =
          switch (role) {
            case "system" -> Message.Role.SYSTEM;
            case "user" -> Message.Role.USER;
            case "assistant" -> Message.Role.ASSISTANT;
            default ->
                throw new UnusableRow(
                    place + ".role is '" + role + "'; allowed: system, user, assistant");
          };
      messages.add(new Message(known, string(message.path("content"), place + ".content")));
    }
    return messages;
  }

  private static int[] ids(JsonNode row, String column) throws UnusableRow {
    int[] ids = integers(row.path(column), column);
    if (ids.length == 0) {
      throw new UnusableRow(column + " is empty");
    }
    return ids;
  }

  private static int[] integers(JsonNode node, String column) throws UnusableRow {
    if (!node.isArray()) {
      throw new UnusableRow(column + " must be a list of integers, is " + typeName(node));
    }
    int[] values = new int[node.size()];
    for (int i = 0; i < values.length; i++) {
      JsonNode value = node.path(i);
      if (!value.isIntegralNumber() || !value.canConvertToInt()) {
        throw new UnusableRow("%s[%s] must be an integer, is %s".formatted(column, i, value));
      }
      values[i] = value.intValue();
    }
    return values;
  }

  private static TokenRow labelled(JsonNode row) throws UnusableRow {
    int[] ids = ids(row, INPUT_IDS);
    int[] labels = integers(row.path(LABELS), LABELS);
    if (labels.length != ids.length) {
      throw new UnusableRow(
          "labels has %s entries, input_ids %s".formatted(labels.length, ids.length));
    }
    boolean[] targets = new boolean[ids.length];
    for (int i = 0; i < ids.length; i++) {
      if (labels[i] != IGNORED && labels[i] != ids[i]) {
        throw new UnusableRow(
            "labels[%s] is %s; must be -100 or input_ids[%s] = %s (labels are not shifted)"
                .formatted(i, labels[i], i, ids[i]));
      }
      targets[i] = i > 0 && labels[i] != IGNORED;
    }
    return new TokenRow(ids, targets);
  }

  private static String typeName(JsonNode node) {
    return node.isMissingNode() ? "missing" : node.getNodeType().name().toLowerCase(Locale.ROOT);
  }
}
