package org.rlhf4j.core.config;

import java.util.ArrayList;
import java.util.List;

/** Collects everything that is wrong with a configuration, one line per problem. */
public final class Problems {
  private final List<String> lines = new ArrayList<>();
  private final List<String> warnings = new ArrayList<>();

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
