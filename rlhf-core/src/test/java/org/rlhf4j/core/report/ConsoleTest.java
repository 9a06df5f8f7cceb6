package org.rlhf4j.core.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ConsoleTest {
  private static final String CLEAR = "\r\u001b[2K";

  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private final PrintStream out = new PrintStream(bytes, true, StandardCharsets.UTF_8);
  private long nanos;
  private final Console plain = new Console(out, false, false, 60, () -> nanos);

  @Test
  void aTableCutsItsWidestColumnsAndAlignsNumbers() {
    plain.table(
        "Stages",
        List.of("stage", "story", "gold_reward", "kl"),
        List.of(
            List.of("sft", "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字", "0.5", "–"),
            List.of("raft", "One day,\nMia was very happy to see the ball.", "1,234", "12.5")));
    assertEquals(
        """
        Stages
          stage  story                             gold_reward    kl
          ─────  ────────────────────────────────  ───────────  ────
          sft    漢字漢字漢字漢字漢字漢字漢字漢…           0.5     –
          raft   One day,⏎Mia was very happy to …        1,234  12.5
        """,
        text());
    for (String line : text().split("\n")) {
      assertTrue(DisplayText.width(line) <= 60, line);
    }
  }

  @Test
  void aTableNeedsACellPerColumn() {
    assertThrows(
        IllegalArgumentException.class,
        () -> plain.table("t", List.of("a", "b"), List.of(List.of("1"))));
  }

  @Test
  void theSampleTableShowsFiveRowsAndWhatIsUnknown() {
    List<Sample> samples = new ArrayList<>();
    for (int i = 0; i < 9; i++) {
      samples.add(new Sample(i, "prompt " + i, "é😀\tx", i == 0 ? null : 0.25, 1.5, 12));
    }
    plain.samples("Samples after step 10", samples);
    assertEquals(
        """
        Samples after step 10
          prompt    answer  score   KL  length
          ────────  ──────  ─────  ───  ──────
          prompt 0  é😀 x       –  1.5      12
          prompt 1  é😀 x    0.25  1.5      12
          prompt 2  é😀 x    0.25  1.5      12
          prompt 3  é😀 x    0.25  1.5      12
          prompt 4  é😀 x    0.25  1.5      12
        """,
        text());
  }

  @Test
  void factsStandInTwoColumns() {
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("dtype", "bf16");
    facts.put("parameters", "260,032");
    plain.facts("Model", facts);
    assertEquals("Model\n  dtype       bf16\n  parameters  260,032\n", text());
  }

  @Test
  void plainOutputHasNoControlCharacter() {
    plain.banner(banner(1, List.of(new MarkedText.Span("a\u001b[31m\r\nb", true))));
    plain.warn("learning_rate 1 is large");
    plain.table("t", List.of("a"), List.of(List.of("\u001b[2J")));
    try (Progress progress = plain.progress("train", 100, "steps")) {
      for (int i = 0; i < 100; i++) {
        nanos += 100_000_000;
        progress.advance(1);
      }
    }
    assertTrue(text().contains("Warning: learning_rate 1 is large\n"));
    assertTrue(text().contains("train: 100 steps in 10 s"), text());
    assertFalse(text().chars().anyMatch(c -> Character.isISOControl(c) && c != '\n'), text());
  }

  @Test
  void plainProgressIsALineEveryFiveSeconds() {
    try (Progress progress = plain.progress("train", 40, "steps")) {
      for (int step = 1; step <= 40; step++) {
        nanos += 500_000_000;
        progress.number("loss", 4.0 / step);
        progress.number("reward", 0.5);
        progress.number("kl", 1);
        progress.number("fourth", 4);
        progress.advance(1);
      }
    }
    assertEquals(
        """
        train 25 %: 10/40 steps · 2 steps/s · 15 s left · loss 0.4 · reward 0.5 · kl 1
        train 50 %: 20/40 steps · 2 steps/s · 10 s left · loss 0.2 · reward 0.5 · kl 1
        train 75 %: 30/40 steps · 2 steps/s · 5.0 s left · loss 0.1333 · reward 0.5 · kl 1
        train: 40 steps in 20 s · 2 steps/s · loss 0.1 · reward 0.5 · kl 1
        """,
        text());
  }

  /** Two steps of a second each, 8 s of evaluation between them: 1 step/s, so 2 s are left. */
  @Test
  void whatIsDoneAsideTakesNoTimeOfThePhasesUnderWay() {
    Console terminal = new Console(out, true, false, 90, () -> nanos);
    try (Progress progress = terminal.progress("train", 4, "steps")) {
      nanos += 1_000_000_000;
      progress.advance(1);
      terminal.aside(
          () -> {
            nanos += 2_000_000_000;
            terminal.aside(() -> nanos += 2_000_000_000);
            try (Progress evaluation = terminal.progress("evaluate", 4, "rows")) {
              nanos += 4_000_000_000L;
              evaluation.advance(2);
            }
            bytes.reset();
            progress.number("reward", 2);
            progress.advance(0);
            return null;
          });
      assertEquals("", text());
      nanos += 1_000_000_000;
      progress.advance(1);
      assertEquals(
          CLEAR + "train  50 % ██████████░░░░░░░░░░ 2/4 steps · 1 steps/s · 2.0 s left · reward 2",
          text());
      bytes.reset();
    }
    assertEquals(CLEAR + "train: 2 of 4 steps in 2.0 s · 1 steps/s · reward 2\n", text());
  }

  @Test
  void whatIsDoneAsideMayFail() {
    try (Progress progress = plain.progress("train", 4, "steps")) {
      assertThrows(
          IllegalStateException.class,
          () ->
              plain.aside(
                  () -> {
                    nanos += 8_000_000_000L;
                    throw new IllegalStateException();
                  }));
      nanos += 2_000_000_000;
      progress.advance(1);
    }
    assertEquals("train: 1 of 4 steps in 2.0 s · 0.5 steps/s\n", text());
  }

  @Test
  void aShortPhaseIsNotShown() {
    try (Progress progress = plain.progress("score", 10, "texts")) {
      for (int i = 0; i < 10; i++) {
        nanos += 190_000_000;
        progress.advance(1);
      }
    }
    assertEquals("", text());
  }

  @Test
  void aResumedPhaseCountsOnlyItsOwnWorkInTheRate() {
    try (Progress progress = plain.progress("train", 100, "steps").resumeAt(80)) {
      nanos += 10_000_000_000L;
      progress.advance(10);
    }
    assertEquals(
        """
        train 90 %: 90/100 steps · 1 steps/s · 10 s left
        train: 90 of 100 steps in 10 s · 1 steps/s
        """,
        text());
  }

  @Test
  void aTerminalHasOneBarThatGivesWayToLines() {
    Console terminal = new Console(out, true, false, 60, () -> nanos);
    try (Progress progress = terminal.progress("train", 4, "steps")) {
      nanos += 1_000_000_000;
      progress.advance(1);
      terminal.warn("careful");
    }
    assertEquals(
        CLEAR
            + "train  25 % █████░░░░░░░░░░░░░░░ 1/4 steps · 1 steps/s · 3…"
            + CLEAR
            + "Warning: careful\n"
            + "train: 1 of 4 steps in 1.0 s · 1 steps/s\n",
        text());
  }

  @Test
  void onlyTheInnermostPhaseDrawsItsBar() {
    Console terminal = new Console(out, true, false, 60, () -> nanos);
    try (Progress outer = terminal.progress("train", 4, "steps");
        Progress inner = terminal.progress("evaluate", 4, "rows")) {
      nanos += 1_000_000_000;
      outer.advance(1);
      assertEquals("", text());
      inner.advance(1);
      assertTrue(text().startsWith(CLEAR + "evaluate  25 %"), text());
    }
  }

  @Test
  void coloursAreEscapeSequencesOnlyWhereWanted() {
    Console coloured = new Console(out, true, true, 60, () -> nanos);
    coloured.warn("careful");
    assertEquals("\u001b[33mWarning: \u001b[0mcareful\n", text());
    bytes.reset();
    coloured.banner(banner(1, List.of(new MarkedText.Span("word ".repeat(20), true))));
    for (String line : text().split("\n")) {
      int begun = line.split("\u001b\\[32m", -1).length;
      int ended = line.split("\u001b\\[0m", -1).length;
      assertTrue(line.contains("sft") || begun == ended, "colours end with their line: " + line);
    }
  }

  @Test
  void theBannerReadsAsWritten() {
    plain.banner(
        banner(
            1,
            List.of(
                new MarkedText.Span("Tell me a story.", false),
                new MarkedText.Span(" Once", true))));
    assertEquals(
        """
        RLHF4J 0.1.0 · sft
          model        models/tiny (llama)
          compute      cpu · bf16 · 2 threads
          parameters   260,032 (260.0K), 260,000 trainable, 32 froz…
          batch        8 rows x 4 accumulated = 32 rows per step
                       1,600 rows x 2 epochs = 100 steps
          train data   1,600 rows read, 1,137 kept, 463 dropped (46…
                       tokens per row: median 211, p95 489, max 512…
          sample       learned from what stands in ⟦ ⟧, the rest is…
                       Tell me a story.⟦ Once⟧
          stop         </s>
          output       runs/sft
        """,
        text());
  }

  @Test
  void theBannerHasAtMost25LinesWhateverItIsGiven() {
    List<MarkedText.Span> spans = new ArrayList<>();
    for (int i = 0; i < 300; i++) {
      spans.add(new MarkedText.Span("一句很长的话 and words ".repeat(50), i % 2 == 1));
    }
    Banner large = banner(40, spans);
    for (int i = 0; i < 30; i++) {
      large.notes().put("note " + i, "many words\n".repeat(100));
    }
    plain.banner(large);
    String[] lines = text().split("\n");
    assertTrue(lines.length <= 25, lines.length + " lines");
    assertTrue(text().contains("and 27 more notes: note 3, "), text());
    for (String line : lines) {
      assertTrue(DisplayText.width(line) <= 60, line);
    }
  }

  @Test
  void aLongSampleKeepsTheEndsOfItsParts() {
    MarkedText sample =
        new MarkedText(
            List.of(
                new MarkedText.Span("BEGIN " + "x".repeat(500) + " ASK", false),
                new MarkedText.Span("ANSWER " + "y".repeat(500) + " STOP", true)));
    String shown = sample.render(60);
    assertTrue(DisplayText.width(shown) <= 60, shown);
    for (String part : List.of("BEGIN", "ASK⟦ANSWER", "STOP⟧")) {
      assertTrue(shown.contains(part), shown);
    }
  }

  @Test
  void marksInTheTextItselfAreNotTakenForMarks() {
    MarkedText sample =
        new MarkedText(
            List.of(new MarkedText.Span("a ⟦b⟧ «c» ", false), new MarkedText.Span("d⟧ e", true)));
    assertEquals("a \\u27e6b\\u27e7 «c» ⟦d\\u27e7 e⟧", sample.render(200));
  }

  @Test
  void rowsReadMustBeKeptOrDropped() {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () ->
                new DataSummary(
                    "train",
                    10,
                    8,
                    Map.of("too_long", 1L),
                    0,
                    new DataSummary.LengthQuantiles(1, 1, 1),
                    512));
    assertEquals("train: 10 rows read, but 8 kept and 1 dropped", e.getMessage());
  }

  @Test
  void quantilesAreByNearestRank() {
    int[] lengths = new int[20];
    for (int i = 0; i < 20; i++) {
      lengths[i] = 20 - i;
    }
    // Ranks ceil(0.5·20) = 10 and ceil(0.95·20) = 19 of 1..20.
    assertEquals(
        new DataSummary.LengthQuantiles(10, 19, 20), DataSummary.LengthQuantiles.of(lengths));
    assertEquals(
        new DataSummary.LengthQuantiles(0, 0, 0), DataSummary.LengthQuantiles.of(new int[0]));
  }

  @Test
  void theSilentConsoleTakesEverything() {
    Console silent = Console.silent();
    silent.banner(banner(1, List.of()));
    silent.samples("s", List.of());
    try (Progress progress = silent.progress("train", 0, "steps")) {
      progress.advance(0);
    }
  }

  private static Banner banner(int dataSets, List<MarkedText.Span> spans) {
    Map<String, Long> dropped = new LinkedHashMap<>();
    dropped.put("too_long", 463L);
    DataSummary summary =
        new DataSummary(
            "train", 1600, 1137, dropped, 0, new DataSummary.LengthQuantiles(211, 489, 512), 512);
    List<DataSummary> data = new ArrayList<>();
    for (int i = 0; i < dataSets; i++) {
      data.add(summary);
    }
    Map<String, String> notes = new LinkedHashMap<>();
    notes.put("stop", "</s>");
    return new Banner(
        "sft",
        "0.1.0",
        "models/tiny (llama)",
        "cpu · bf16 · 2 threads",
        260_032,
        260_000,
        new Banner.Batch("rows", 8, 4, 1600, 2, 100),
        data,
        new MarkedText(spans),
        notes,
        "runs/sft");
  }

  private String text() {
    return bytes.toString(StandardCharsets.UTF_8);
  }
}
