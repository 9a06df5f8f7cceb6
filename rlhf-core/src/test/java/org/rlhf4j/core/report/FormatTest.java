package org.rlhf4j.core.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;

class FormatTest {
  @Test
  void numbers() {
    assertEquals("2.314", Format.number(2.3141));
    assertEquals("0.0153", Format.number(0.0153));
    assertEquals("2e-05", Format.number(2e-5));
    assertEquals("1.23e-06", Format.number(1.234e-6));
    assertEquals("-0.5", Format.number(-0.5));
    assertEquals("0", Format.number(0));
    assertEquals("600", Format.number(600));
    assertEquals("123.5", Format.number(123.456));
    assertEquals("1,234", Format.number(1234.4));
    assertEquals("1,000", Format.number(999.96));
    assertEquals("4.57e+07", Format.number(45678901));
    assertEquals("nan", Format.number(Double.NaN));
    assertEquals("-inf", Format.number(Double.NEGATIVE_INFINITY));
  }

  @Test
  void counts() {
    assertEquals("1,137", Format.count(1137));
    assertEquals("950", Format.shortCount(950));
    assertEquals("260.0K", Format.shortCount(260_032));
    assertEquals("1.0M", Format.shortCount(999_950));
    assertEquals("134.5M", Format.shortCount(134_515_008));
    assertEquals("7.2B", Format.shortCount(7_241_732_096L));
    assertEquals("12.5 %", Format.percent(0.125));
  }

  @Test
  void durations() {
    assertEquals("0.8 s", Format.duration(0.84));
    assertEquals("10 s", Format.duration(9.96));
    assertEquals("59 s", Format.duration(59.4));
    assertEquals("1 min 00 s", Format.duration(59.6));
    assertEquals("2 min 05 s", Format.duration(125));
    assertEquals("1 h 00 min", Format.duration(3599.7));
    assertEquals("1 h 02 min", Format.duration(3720));
  }

  @Test
  void bytes() {
    assertEquals("512 B", Format.bytes(512));
    assertEquals("1.5 KiB", Format.bytes(1536));
    assertEquals("1.0 MiB", Format.bytes(1024 * 1024 - 1));
    assertEquals("2.0 GiB", Format.bytes(2L << 30));
  }

  @Test
  void theLocaleDoesNotMatter() {
    Locale before = Locale.getDefault();
    try (Progress progress = Console.silent().progress("train", 4, "steps")) {
      // One writes 2,314 for 2.314, the other has digits of its own.
      for (String country : List.of("de-DE", "ar-EG")) {
        Locale.setDefault(Locale.forLanguageTag(country));
        assertEquals("2.314", Format.number(2.3141));
        assertEquals("1,137", Format.count(1137));
        assertEquals("12.5 %", Format.percent(0.125));
        assertTrue(progress.barLine().startsWith("train   0 % "), progress.barLine());
      }
    } finally {
      Locale.setDefault(before);
    }
  }
}
