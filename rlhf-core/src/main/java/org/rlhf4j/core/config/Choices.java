package org.rlhf4j.core.config;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/** How enum constants are written in configurations. */
final class Choices {
  private Choices() {}

  /** The constant's own {@code toString}, or its name in lower case if it has none of its own. */
  static String text(Enum<?> constant) {
    String text = constant.toString();
    return text.equals(constant.name()) ? text.toLowerCase(Locale.ROOT) : text;
  }

  static String all(Class<?> enumType) {
    return Arrays.stream(enumType.getEnumConstants())
        .map(constant -> text((Enum<?>) constant))
        .collect(Collectors.joining(", "));
  }

  /** The constant of this text, upper or lower case, - for _ or the reverse; null if none. */
  static Object parse(Class<?> enumType, String text) {
    String wanted = normal(text);
    for (Object constant : enumType.getEnumConstants()) {
      if (normal(text((Enum<?>) constant)).equals(wanted)) {
        return constant;
      }
    }
    return null;
  }

  private static String normal(String text) {
    return text.toLowerCase(Locale.ROOT).replace('-', '_');
  }
}
