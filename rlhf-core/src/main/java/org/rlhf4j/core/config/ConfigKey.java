package org.rlhf4j.core.config;

import java.lang.invoke.MethodType;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * A key as users see it.
 *
 * @param name the one name in YAML and on the command line
 * @param type the Java type of the record's component
 * @param declaration its documentation, range and aliases
 * @param heading in help, the title that it stands under; empty: none
 * @param defaultValue the default as a user would write it, {@link Key#REQUIRED} if there is none
 */
public record ConfigKey(
    String name, Type type, Key declaration, String heading, String defaultValue) {

  /** Whether a value must be given. */
  public boolean required() {
    return defaultValue.equals(Key.REQUIRED);
  }

  /** Whether the key takes several values. */
  public boolean isList() {
    return type instanceof ParameterizedType;
  }

  /** The class of a value, or of a list's element; a number's is the primitive one. */
  public Class<?> elementType() {
    return MethodType.methodType(declaredType()).unwrap().returnType();
  }

  private Class<?> declaredType() {
    return type instanceof ParameterizedType list
        ? (Class<?>) list.getActualTypeArguments()[0]
        : (Class<?>) type;
  }

  /** What may be written, in words, for error messages and help. */
  public String allowed() {
    Class<?> element = elementType();
    String allowed;
    if (element.isEnum()) {
      allowed = Choices.all(element);
    } else if (declaration.choices().length > 0) {
      allowed = String.join(", ", declaration.choices());
    } else if (element == boolean.class) {
      allowed = "true, false";
    } else if (element == int.class || element == long.class) {
      allowed = "a whole number" + range();
    } else if (element == double.class) {
      allowed = "a number" + range();
    } else if (element == ResumeFrom.class) {
      allowed = "none, auto, the path of a checkpoint folder";
    } else if (element == ByteSize.class) {
      allowed = "a size such as 5GB, 512MiB or 1000000";
    } else if (element == Path.class) {
      allowed = "a path";
    } else if (takesUrl()) {
      allowed = "the path of a folder, the URL of a server";
    } else {
      allowed = "a text";
    }
    return isList() ? "a list, each " + allowed : allowed;
  }

  /** A short word for the value in a usage line. */
  public String placeholder() {
    Class<?> element = elementType();
    String word;
    if (element == boolean.class) {
      word = "true|false";
    } else if (element == int.class || element == long.class || element == double.class) {
      word = "N";
    } else if (element.isEnum() || declaration.choices().length > 0) {
      word = "CHOICE";
    } else if (element == ByteSize.class) {
      word = "SIZE";
    } else if (takesUrl()) {
      word = "PATH|URL";
    } else if (element == Path.class
        || element == ResumeFrom.class
        || declaration.existing() != Key.Existing.NOTHING) {
      word = "PATH";
    } else {
      word = "TEXT";
    }
    return isList() ? word + ",…" : word;
  }

  /** Documentation, choices or range, and default in one paragraph. */
  public String help() {
    Class<?> element = elementType();
    StringBuilder text = new StringBuilder(declaration.doc());
    if (element.isEnum() || declaration.choices().length > 0) {
      text.append(" One of: ").append(allowed().replace("a list, each ", "")).append('.');
    }
    String range = range().isEmpty() ? "" : "," + range();
    text.append(required() ? " Required." : " (default: " + defaultValue + range + ")");
    return text.toString();
  }

  boolean inRange(double value) {
    // Written so that NaN is out of every range; infinities never are a sensible setting.
    return Double.isFinite(value)
        && value >= declaration.atLeast()
        && value <= declaration.atMost()
        && (declaration.above() == Double.NEGATIVE_INFINITY || value > declaration.above())
        && (declaration.below() == Double.POSITIVE_INFINITY || value < declaration.below());
  }

  /** The range in words, with a leading blank; empty if every number is allowed. */
  String range() {
    StringBuilder text = new StringBuilder();
    bound(text, ">=", declaration.atLeast());
    bound(text, ">", declaration.above());
    bound(text, "<=", declaration.atMost());
    bound(text, "<", declaration.below());
    return text.toString();
  }

  private static void bound(StringBuilder text, String relation, double limit) {
    if (Double.isInfinite(limit)) {
      return;
    }
    String number =
        limit == Math.rint(limit)
            ? String.format(Locale.ROOT, "%.0f", limit)
            : Double.toString(limit);
    text.append(text.length() == 0 ? " " : " and ").append(relation).append(' ').append(number);
  }

  /** Whether a value may be the URL of a server. */
  boolean takesUrl() {
    return declaration.existing() == Key.Existing.MODEL_FOLDER_OR_URL;
  }

  /** Whether {@code none} stands for null. */
  boolean nullable() {
    Class<?> element = declaredType();
    return !isList()
        && !element.isPrimitive()
        && !element.isEnum()
        && element != ResumeFrom.class
        && element != ByteSize.class
        && defaultValue.equals(Key.NONE);
  }

  /** The value of this type that stands in for a required key that is missing. */
  Object placeholderValue() {
    Class<?> element = elementType();
    if (isList()) {
      return List.of();
    } else if (element == boolean.class) {
      return false;
    } else if (element == int.class) {
      return 0;
    } else if (element == long.class) {
      return 0L;
    } else if (element == double.class) {
      return 0.0;
    }
    return null;
  }
}
