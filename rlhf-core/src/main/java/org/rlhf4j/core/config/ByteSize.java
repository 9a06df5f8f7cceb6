package org.rlhf4j.core.config;

import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A number of bytes, written as in Hugging Face's {@code max_shard_size}: {@code 5GB}, {@code
 * 512MiB} or a plain number.
 *
 * @param bytes at least 1
 */
public record ByteSize(long bytes) {
  private static final Pattern FORM = Pattern.compile("([1-9]\\d{0,17}) ?([KMGT]i?B)?");

  /** The largest that divides a size is the one it is written in. */
  private static final Map<String, Long> UNITS =
      new TreeMap<>(
          Map.of(
              "KB",
              1000L,
              "MB",
              1000_000L,
              "GB",
              1000_000_000L,
              "TB",
              1000_000_000_000L,
              "KiB",
              1L << 10,
              "MiB",
              1L << 20,
              "GiB",
              1L << 30,
              "TiB",
              1L << 40));

  /**
   * Reads a size.
   *
   * @return null for a text of another form, and for sizes that no disk has
   */
  static ByteSize parse(String text) {
    Matcher matcher = FORM.matcher(text.trim());
    if (!matcher.matches()) {
      return null;
    }
    long unit = matcher.group(2) == null ? 1 : UNITS.get(matcher.group(2));
    long number = Long.parseLong(matcher.group(1));
    return number > Long.MAX_VALUE / unit ? null : new ByteSize(number * unit);
  }

  @Override
  public String toString() {
    return UNITS.entrySet().stream()
        .filter(unit -> bytes % unit.getValue() == 0)
        .max(Map.Entry.comparingByValue())
        .map(unit -> bytes / unit.getValue() + unit.getKey())
        .orElse(Long.toString(bytes));
  }
}
