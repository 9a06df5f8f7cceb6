package org.rlhf4j.core.config;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** Turns written values into the types of the record's components. */
final class ValueReader {
  private ValueReader() {}

  /**
   * Reads a value.
   *
   * @throws IllegalArgumentException whose message says what was found and what is allowed
   */
  static Object read(ConfigKey key, RawValue raw) {
    if (raw instanceof RawValue.Unusable unusable) {
      throw refused(unusable.what(), key);
    }
    boolean absent =
        raw instanceof RawValue.Nothing
            || (raw instanceof RawValue.Text text && text.text().equals(Key.NONE));
    if (key.isList()) {
      return absent ? List.of() : list(key, raw);
    }
    if (absent && key.nullable()) {
      return null;
    }
    if (raw instanceof RawValue.Text text) {
      return scalar(key, text.text());
    }
    throw refused(raw instanceof RawValue.Items ? "a list" : "no value", key);
  }

  private static List<?> list(ConfigKey key, RawValue raw) {
    List<String> texts;
    if (raw instanceof RawValue.Items items) {
      texts = items.items();
    } else {
      RawValue.Text text = (RawValue.Text) raw;
      texts =
          text.commaSeparated() ? Arrays.asList(text.text().split(",", -1)) : List.of(text.text());
    }
    List<Object> values = new ArrayList<>();
    for (String text : texts) {
      if (text.isEmpty()) {
        throw refused("an empty element", key);
      }
      values.add(scalar(key, text));
    }
    return List.copyOf(values);
  }

  private static Object scalar(ConfigKey key, String text) {
    Class<?> type = key.elementType();
    if (type.isEnum()) {
      Object constant = Choices.parse(type, text);
      if (constant == null) {
        throw refused(quoted(text), key);
      }
      return constant;
    } else if (type == boolean.class) {
      return bool(key, text);
    } else if (type == int.class || type == long.class || type == double.class) {
      return number(key, text, type);
    } else if (type == ResumeFrom.class) {
      return ResumeFrom.parse(text);
    } else if (type == ByteSize.class) {
      return byteSize(key, text);
    } else if (type == Path.class) {
      return path(key, text);
    } else if (type == String.class) {
      return text(key, text);
    }
    throw new IllegalStateException("key " + key.name() + " has a type without a reader: " + type);
  }

  private static boolean bool(ConfigKey key, String text) {
    if (text.equalsIgnoreCase("true")) {
      return true;
    } else if (text.equalsIgnoreCase("false")) {
      return false;
    }
    throw refused(quoted(text), key);
  }

  private static Object number(ConfigKey key, String text, Class<?> type) {
    Number value;
    try {
      String trimmed = text.trim();
      if (type == int.class) {
        value = Integer.valueOf(trimmed);
      } else if (type == long.class) {
        value = Long.valueOf(trimmed);
      } else {
        value = Double.valueOf(trimmed);
      }
    } catch (NumberFormatException e) {
      throw refused(quoted(text), key);
    }
    if (!key.inRange(value.doubleValue())) {
      throw refused(text, key);
    }
    return value;
  }

  private static ByteSize byteSize(ConfigKey key, String text) {
    ByteSize size = ByteSize.parse(text);
    if (size == null) {
      throw refused(quoted(text), key);
    }
    return size;
  }

  private static Path path(ConfigKey key, String text) {
    if (text.isBlank()) {
      throw refused("an empty text", key);
    }
    try {
      return Path.of(text);
    } catch (InvalidPathException e) {
      throw refused(quoted(text), key);
    }
  }

  private static String text(ConfigKey key, String text) {
    String[] choices = key.declaration().choices();
    if (choices.length > 0) {
      boolean matches = Arrays.stream(choices).anyMatch(choice -> choicePattern(choice, text));
      if (!matches) {
        throw refused(quoted(text), key);
      }
    } else if (text.isEmpty()) {
      throw refused("an empty text", key);
    } else if (key.takesUrl() && ServerUrl.isMeant(text)) {
      ServerUrl.parse(text);
    }
    return text;
  }

  private static boolean choicePattern(String choice, String text) {
    String regex =
        Arrays.stream(choice.split("N", -1))
            .map(Pattern::quote)
            .collect(Collectors.joining("\\d+"));
    return text.matches(regex);
  }

  private static String quoted(String text) {
    return "'" + text + "'";
  }

  private static IllegalArgumentException refused(String found, ConfigKey key) {
    return new IllegalArgumentException("found " + found + ", allowed: " + key.allowed());
  }
}
