package org.rlhf4j.core.config;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLParser;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Reads a flat YAML mapping token by token, so that every value keeps its line and its text as
 * written: {@code no} stays a word and {@code 5e-7} stays what the user typed.
 */
final class YamlFile {
  static final String NO_ALIASES =
      "YAML anchors, aliases and merges (&x, *x, <<) are not supported; write the value out";

  private YamlFile() {}

  /**
   * One {@code key: value}.
   *
   * @param key as written
   * @param value as written
   * @param line counted from 1
   */
  record Entry(String key, RawValue value, int line) {}

  /** The entries in order; empty, and a problem, if the file cannot be read as a whole. */
  static Optional<List<Entry>> read(Path file, Problems problems) {
    List<Entry> entries = new ArrayList<>();
    String text;
    try {
      text = Files.readString(file);
    } catch (CharacterCodingException e) {
      problems.add(file + ": is not UTF-8 text");
      return Optional.empty();
    } catch (IOException e) {
      problems.add(file + ": " + (Files.exists(file) ? "cannot be read" : "no such file"));
      return Optional.empty();
    }
    int before = problems.lines().size();
    try (YAMLParser parser = new YAMLFactory().createParser(text)) {
      mapping(parser, file, entries, problems);
    } catch (JsonProcessingException e) {
      problems.add(syntaxError(file, e));
    } catch (IOException e) {
      throw new UncheckedIOException("a string was read, not a file", e);
    }
    return problems.lines().size() == before ? Optional.of(entries) : Optional.empty();
  }

  private static void mapping(YAMLParser parser, Path file, List<Entry> entries, Problems problems)
      throws IOException {
    JsonToken first = parser.nextToken();
    if (first == null || (first == JsonToken.VALUE_NULL)) {
      return;
    }
    if (first != JsonToken.START_OBJECT) {
      problems.add(file + ": must be lines of 'key: value'");
      return;
    }
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String key = parser.currentName();
      int line = parser.currentTokenLocation().getLineNr();
      parser.nextToken();
      RawValue value = value(parser);
      entries.add(new Entry(key, value, line));
    }
    if (parser.nextToken() != null) {
      problems.add(file + ": holds more than one YAML document");
    }
  }

  private static RawValue value(YAMLParser parser) throws IOException {
    JsonToken token = parser.currentToken();
    boolean alias = parser.isCurrentAlias() || parser.getObjectId() != null;
    if (token == JsonToken.START_ARRAY) {
      return list(parser, alias);
    }
    if (token == JsonToken.START_OBJECT) {
      parser.skipChildren();
      return new RawValue.Unusable(alias ? "an anchor. " + NO_ALIASES : "a mapping");
    }
    if (alias) {
      return new RawValue.Unusable("an anchor or alias. " + NO_ALIASES);
    }
    return token == JsonToken.VALUE_NULL
        ? new RawValue.Nothing()
        : new RawValue.Text(parser.getText(), false);
  }

  private static RawValue list(YAMLParser parser, boolean anchored) throws IOException {
    List<String> items = new ArrayList<>();
    String unusable = anchored ? "an anchor. " + NO_ALIASES : null;
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      RawValue item = value(parser);
      if (item instanceof RawValue.Text text) {
        items.add(text.text());
      } else if (item instanceof RawValue.Unusable nested) {
        unusable = "in the list " + nested.what();
      } else if (item instanceof RawValue.Items) {
        unusable = "a list in a list";
      } else {
        unusable = "an empty element";
      }
    }
    return unusable == null ? new RawValue.Items(items) : new RawValue.Unusable(unusable);
  }

  /** One line from the parser's several: what it found and where. */
  private static String syntaxError(Path file, JsonProcessingException error) {
    StringBuilder what = new StringBuilder();
    for (String line : error.getOriginalMessage().split("\n", -1)) {
      // Lines that begin with a blank repeat the place and draw the text with an arrow.
      if (!line.isBlank() && !line.startsWith(" ")) {
        what.append(what.length() == 0 ? "" : ", ").append(line.trim());
      }
    }
    String place =
        error.getLocation() == null
            ? ""
            : " line "
                + error.getLocation().getLineNr()
                + ", column "
                + error.getLocation().getColumnNr();
    return file + place + ": not valid YAML: " + what;
  }
}
