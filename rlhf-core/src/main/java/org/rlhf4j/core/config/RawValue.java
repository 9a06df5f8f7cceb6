package org.rlhf4j.core.config;

import java.util.List;

/** A value as it was written, before its key's type is known. */
sealed interface RawValue {
  /** One scalar. A list key splits it at commas where it came from a command line. */
  record Text(String text, boolean commaSeparated) implements RawValue {}

  /** A list of scalars. */
  record Items(List<String> items) implements RawValue {}

  /** A key without a value, as {@code key:} in YAML. */
  record Nothing() implements RawValue {}

  /** Something that no key takes; {@code what} names it. */
  record Unusable(String what) implements RawValue {}
}
