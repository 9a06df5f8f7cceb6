package org.rlhf4j.core.config;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/** Collects everything that is wrong with a configuration, one line per problem. */
public final class Problems {
  private final List<String> lines = new ArrayList<>();
  private final List<String> warnings = new ArrayList<>();

  private final Predicate<String> isSet;

  /** Where it is not known which keys were set by a user. */
  public Problems() {
    this(key -> false);
  }

  /**
   * Where it is known.
   *
   * @param isSet whether a user gave a key another value than its default
   */
  Problems(Predicate<String> isSet) {
    this.isSet = isSet;
  }

  /**
   * Adds a warning for each of these keys that a user gave another value than its default.
   *
   * @param why begins with the condition under which it would count, as {@code unless packing is
   *     true}
   */
  public void warnUnused(String why, String... keys) {
    for (String key : keys) {
      if (isSet.test(key)) {
        warn(key + " has no effect " + why);
      }
    }
  }

  /** Adds a problem: one line that names key, value and rule. */
  public void add(String line) {
    lines.add(line);
  }

  /** Adds a line about a value that works but was probably not meant. */
  public void warn(String line) {
    warnings.add(line);
  }

  /** The warnings in the order in which they were found. */
  public List<String> warnings() {
    return List.copyOf(warnings);
  }

  /** Adds the problem unless the rule holds. */
  public void require(boolean rule, String line) {
    if (!rule) {
      add(line);
    }
  }

  /** The problems in the order in which they were found. */
  public List<String> lines() {
    return List.copyOf(lines);
  }
}
