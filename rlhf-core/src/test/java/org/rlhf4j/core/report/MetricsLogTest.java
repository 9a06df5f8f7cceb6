package org.rlhf4j.core.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;

class MetricsLogTest {
  @TempDir Path folder;
  private Path file;

  @BeforeEach
  void nameTheFile() {
    file = folder.resolve("metrics.jsonl");
  }

  @Test
  void rowsKeepTheirOrderAndFullPrecision() throws Exception {
    try (MetricsLog log = MetricsLog.create(file)) {
      log.append(row("step", 0, "eval_loss", 2.5f, "kl", null));
      log.append(row("step", 1L, "epoch", 0.1, "loss", 0.1 + 0.2, "learning_rate", 2e-5));
      log.append(row("step", 2L, "loss", 1.0 / 3, "note", "é \"x\"", "per_iteration", List.of(1)));
    }
    assertEquals(
        """
        {"step":0,"eval_loss":2.5,"kl":null}
        {"step":1,"epoch":0.1,"loss":0.30000000000000004,"learning_rate":2.0E-5}
        {"step":2,"loss":0.3333333333333333,"note":"é \\"x\\"","per_iteration":[1]}
        """,
        Files.readString(file));
    assertEquals(1.0 / 3, MetricsLog.read(file).get(2).get("loss"));
    assertEquals(0L, MetricsLog.read(file).get(0).get("step"));
  }

  @Test
  void aRowIsInTheFileAsSoonAsItIsAppended() throws Exception {
    try (MetricsLog log = MetricsLog.create(file)) {
      log.append(row("step", 1L, "loss", 1.5));
      assertEquals("{\"step\":1,\"loss\":1.5}\n", Files.readString(file));
    }
  }

  @Test
  void numbersThatAreNotFiniteAreRefusedAndNothingIsWritten() throws Exception {
    try (MetricsLog log = MetricsLog.create(file)) {
      for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
        RlhfException e =
            assertThrows(RlhfException.class, () -> log.append(row("step", 7L, "grad_norm", bad)));
        assertEquals(ExitCode.NON_FINITE, e.exitCode());
        assertEquals("metrics.jsonl, step 7: grad_norm is " + bad, e.getMessage());
      }
      assertThrows(
          RlhfException.class, () -> log.append(row("step", 7L, "x", List.of(1.0, Double.NaN))));
    }
    assertEquals("", Files.readString(file));
  }

  @Test
  void aRowNeedsAStep() {
    try (MetricsLog log = MetricsLog.create(file)) {
      assertThrows(IllegalArgumentException.class, () -> log.append(row("loss", 1.0)));
      assertThrows(IllegalArgumentException.class, () -> log.append(row("step", 1.0)));
      assertThrows(IllegalArgumentException.class, () -> log.append(row("step", 1, "x", folder)));
    }
  }

  @Test
  void aResumedRunEndsWithTheFileOfTheUninterruptedOne() throws Exception {
    Path whole = folder.resolve("whole.jsonl");
    try (MetricsLog log = MetricsLog.create(whole)) {
      for (long step = 1; step <= 6; step++) {
        log.append(row("step", step, "loss", 1.0 / step));
        log.append(row("step", step, "eval_loss", 2.0 / step));
      }
    }
    // Killed in mid-write after the checkpoint of step 3.
    try (MetricsLog log = MetricsLog.create(file)) {
      for (long step = 1; step <= 4; step++) {
        log.append(row("step", step, "loss", 1.0 / step));
        log.append(row("step", step, "eval_loss", 2.0 / step));
      }
    }
    Files.writeString(file, "{\"step\":5,\"lo", StandardOpenOption.APPEND);

    try (MetricsLog log = MetricsLog.resume(file, 3)) {
      assertEquals(6, log.rows().size());
      for (long step = 4; step <= 6; step++) {
        log.append(row("step", step, "loss", 1.0 / step));
        log.append(row("step", step, "eval_loss", 2.0 / step));
      }
      assertEquals(MetricsLog.read(whole), log.rows());
    }
    assertEquals(Files.readString(whole), Files.readString(file));
  }

  @Test
  void aMethodMayKeepOnlyTheFirstRowsOfAStep() throws Exception {
    Files.writeString(file, "{\"step\":1}\n{\"step\":2,\"a\":1}\n{\"step\":2,\"b\":1}\n");
    MetricsLog.resume(file, 2, 2).close();
    assertEquals("{\"step\":1}\n{\"step\":2,\"a\":1}\n", Files.readString(file));
  }

  @Test
  void aLastLineTornWithinALetterIsLeftOut() throws Exception {
    byte[] torn =
        "{\"step\":1,\"loss\":1.5}\n{\"step\":2,\"note\":\"é".getBytes(StandardCharsets.UTF_8);
    Files.write(file, java.util.Arrays.copyOf(torn, torn.length - 1));
    assertEquals(1, MetricsLog.read(file).size());
    MetricsLog.resume(file, 2).close();
    assertEquals("{\"step\":1,\"loss\":1.5}\n", Files.readString(file));
  }

  @Test
  void aWholeRowWithoutItsNewlineIsKept() throws Exception {
    Files.writeString(file, "{\"step\":1,\"loss\":1.5}");
    MetricsLog.resume(file, 1).close();
    assertEquals("{\"step\":1,\"loss\":1.5}\n", Files.readString(file));
  }

  @Test
  void aBadLineWithinTheFileIsNamed() throws Exception {
    Files.writeString(file, "{\"step\":1}\n{\"step\":\n{\"step\":3}\n");
    RlhfException e = assertThrows(RlhfException.class, () -> MetricsLog.read(file));
    assertEquals(ExitCode.INPUT, e.exitCode());
    assertTrue(e.getMessage().contains("metrics.jsonl, line 2"), e.getMessage());
    Files.writeString(file, "{\"loss\":1.5}\n");
    assertThrows(RlhfException.class, () -> MetricsLog.resume(file, 1));
    assertEquals("{\"loss\":1.5}\n", Files.readString(file), "nothing is changed by a failure");
  }

  @Test
  void aMissingFileIsBegunOnResumeAndAnOldOneIsReplacedByCreate() throws Exception {
    MetricsLog.resume(file, 10).close();
    assertEquals("", Files.readString(file));
    Files.writeString(file, "{\"step\":1}\n");
    MetricsLog.create(file).close();
    assertEquals("", Files.readString(file));
  }

  @Test
  void theHistoryHasNoWallClockFields() {
    try (MetricsLog log = MetricsLog.create(file)) {
      log.append(
          row(
              "step", 1L,
              "loss", 1.5,
              "elapsed_s", 3.2,
              "tokens_per_second", 100.0,
              "rss_mib", 700.5));
      assertEquals(List.of(row("step", 1L, "loss", 1.5)), log.logHistory());
    }
  }

  @Test
  void wallClockFieldsAreThoseOfTheContract() {
    assertTrue(MetricNames.isWallClock("elapsed_s"));
    assertTrue(MetricNames.isWallClock("eps"));
    assertTrue(MetricNames.isWallClock("peak_rss_mib"));
    assertFalse(MetricNames.isWallClock("loss"));
    assertFalse(MetricNames.isWallClock("learning_rates_s"));
  }

  static Map<String, Object> row(Object... fields) {
    Map<String, Object> row = new LinkedHashMap<>();
    for (int i = 0; i < fields.length; i += 2) {
      row.put((String) fields[i], fields[i + 1]);
    }
    return row;
  }
}
