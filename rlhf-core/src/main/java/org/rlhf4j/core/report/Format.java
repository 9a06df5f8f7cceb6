package org.rlhf4j.core.report;

/** Numbers as people read them; always with a decimal point, whatever the locale. */
public final class Format {
  private Format() {}

  /** About four significant digits: {@code 2.314}, {@code 0.0153}, {@code 2e-05}, {@code 1,234}. */
  public static String number(double value) {
    throw new UnsupportedOperationException();
  }

  /** A whole number with thousands separated: {@code 1,137}. */
  public static String count(long value) {
    throw new UnsupportedOperationException();
  }

  /** A large count in short: {@code 950}, {@code 260.0K}, {@code 134.5M}, {@code 7.2B}. */
  public static String shortCount(long value) {
    throw new UnsupportedOperationException();
  }

  /** A share of one: {@code 12.5 %}. */
  public static String percent(double share) {
    throw new UnsupportedOperationException();
  }

  /** {@code 0.8 s}, {@code 59 s}, {@code 2 min 05 s}, {@code 1 h 02 min}. */
  public static String duration(double seconds) {
    throw new UnsupportedOperationException();
  }

  /** {@code 512 B}, {@code 1.5 KiB}, {@code 700.0 MiB}, {@code 2.0 GiB}. */
  public static String bytes(long bytes) {
    throw new UnsupportedOperationException();
  }
}
