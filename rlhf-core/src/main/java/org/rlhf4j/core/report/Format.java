package org.rlhf4j.core.report;

import java.math.BigDecimal;
import java.math.MathContext;
import java.util.Locale;

/** Numbers as people read them; always with a decimal point, whatever the locale. */
public final class Format {
  private static final MathContext FOUR_DIGITS = new MathContext(4);
  private static final MathContext THREE_DIGITS = new MathContext(3);

  private Format() {}

  /** About four significant digits: {@code 2.314}, {@code 0.0153}, {@code 2e-05}, {@code 1,234}. */
  public static String number(double value) {
    if (!Double.isFinite(value)) {
      return Double.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
    }
    if (value == 0) {
      return "0";
    }
    double rounded = new BigDecimal(value).round(FOUR_DIGITS).doubleValue();
    double magnitude = Math.abs(rounded);
    if (magnitude >= 1e7 || magnitude < 1e-3) {
      String[] parts =
          String.format(Locale.ROOT, "%.2e", new BigDecimal(value).round(THREE_DIGITS)).split("e");
      return plain(new BigDecimal(parts[0])) + "e" + parts[1];
    }
    return magnitude >= 1000 ? count(Math.round(value)) : plain(BigDecimal.valueOf(rounded));
  }

  /** A whole number with thousands separated: {@code 1,137}. */
  public static String count(long value) {
    return String.format(Locale.ROOT, "%,d", value);
  }

  /** A large count in short: {@code 950}, {@code 260.0K}, {@code 134.5M}, {@code 7.2B}. */
  public static String shortCount(long value) {
    // 999,950 would be shown as 1000.0K.
    if (value < 1000) {
      return Long.toString(value);
    }
    if (value < 999_950) {
      return String.format(Locale.ROOT, "%.1fK", value / 1e3);
    }
    return value < 999_950_000
        ? String.format(Locale.ROOT, "%.1fM", value / 1e6)
        : String.format(Locale.ROOT, "%.1fB", value / 1e9);
  }

  /** A share of one: {@code 12.5 %}. */
  public static String percent(double share) {
    return String.format(Locale.ROOT, "%.1f %%", 100 * share);
  }

  /** {@code 0.8 s}, {@code 59 s}, {@code 2 min 05 s}, {@code 1 h 02 min}. */
  public static String duration(double seconds) {
    if (seconds < 9.95) {
      return String.format(Locale.ROOT, "%.1f s", seconds);
    }
    long whole = Math.round(seconds);
    if (whole < 60) {
      return whole + " s";
    }
    if (whole < 3600) {
      return String.format(Locale.ROOT, "%d min %02d s", whole / 60, whole % 60);
    }
    long minutes = Math.round(seconds / 60);
    return String.format(Locale.ROOT, "%d h %02d min", minutes / 60, minutes % 60);
  }

  /** {@code 512 B}, {@code 1.5 KiB}, {@code 700.0 MiB}, {@code 2.0 GiB}. */
  public static String bytes(long bytes) {
    double value = bytes;
    String unit = "B";
    for (String larger : new String[] {"KiB", "MiB", "GiB", "TiB"}) {
      if (value < 1023.95) {
        break;
      }
      value /= 1024;
      unit = larger;
    }
    return unit.equals("B") ? bytes + " B" : String.format(Locale.ROOT, "%.1f %s", value, unit);
  }

  private static String plain(BigDecimal value) {
    return value.stripTrailingZeros().toPlainString();
  }
}
