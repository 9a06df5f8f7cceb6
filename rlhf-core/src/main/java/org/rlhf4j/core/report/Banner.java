package org.rlhf4j.core.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * What is shown before the first step, in at most {@value #MAX_LINES} lines.
 *
 * @param title the verb, as {@code sft}
 * @param version the library's version
 * @param model path and architecture of the start model
 * @param compute device, dtype and threads, as {@code cpu · bf16 · 2 threads}
 * @param totalParameters all parameters of the model
 * @param trainableParameters those that the optimizer changes
 * @param batch the batch arithmetic, or null where nothing is trained
 * @param data one entry per data set
 * @param sample one decoded row with its loss tokens marked, or null
 * @param notes further facts by name, as stop tokens or estimated memory
 * @param outputDir where files go
 */
public record Banner(
    String title,
    String version,
    String model,
    String compute,
    long totalParameters,
    long trainableParameters,
    Batch batch,
    List<DataSummary> data,
    MarkedText sample,
    Map<String, String> notes,
    String outputDir) {
  /** The most lines a banner takes. */
  public static final int MAX_LINES = 25;

  private static final String SAMPLE_CAPTION =
      "learned from what stands in ⟦ ⟧, the rest is context";
  private static final int LABEL_COLUMNS = 13;
  private static final int SAMPLE_LINES = 5;
  private static final int DATA_SETS_SHOWN = 3;
  private static final int NOTES_SHOWN = 4;

  /**
   * Rows per optimizer step and steps per run.
   *
   * @param unit what a row is: {@code rows}, {@code pairs} or {@code queries}
   * @param perDevice rows of one micro batch
   * @param accumulation micro batches per optimizer step
   * @param rows rows of an epoch
   * @param epochs passes over the data
   * @param steps optimizer steps of the run
   */
  public record Batch(
      String unit, int perDevice, int accumulation, long rows, double epochs, long steps) {
    /** {@code 8 rows x 4 accumulated = 32 rows per step}. */
    String stepLine() {
      return String.format(
          Locale.ROOT,
          "%s %s x %s accumulated = %s %s per step",
          Format.count(perDevice),
          unit,
          Format.count(accumulation),
          Format.count((long) perDevice * accumulation),
          unit);
    }

    /** {@code 1,600 rows x 2 epochs = 100 steps}. */
    String runLine() {
      return String.format(
          Locale.ROOT,
          "%s %s x %s epochs = %s steps",
          Format.count(rows),
          unit,
          Format.number(epochs),
          Format.count(steps));
    }
  }

  /** The banner's lines; values are cut to {@code width}, but for paths, which people copy. */
  List<String> lines(int width) {
    int columns = width - LABEL_COLUMNS - 2;
    List<String> lines = new ArrayList<>();
    lines.add("RLHF4J " + version + " · " + title);
    add(lines, "model", model);
    add(lines, "compute", DisplayText.cut(compute, columns));
    add(
        lines,
        "parameters",
        DisplayText.cut(
            String.format(
                Locale.ROOT,
                "%s (%s), %s trainable, %s frozen",
                Format.count(totalParameters),
                Format.shortCount(totalParameters),
                Format.count(trainableParameters),
                Format.count(totalParameters - trainableParameters)),
            columns));
    if (batch != null) {
      add(lines, "batch", batch.stepLine());
      add(lines, "", batch.runLine());
    }
    for (DataSummary set : data.subList(0, Math.min(DATA_SETS_SHOWN, data.size()))) {
      add(lines, set.name() + " data", DisplayText.cut(set.rowsLine(), columns));
      add(lines, "", DisplayText.cut(set.lengthsLine(), columns));
    }
    if (data.size() > DATA_SETS_SHOWN) {
      add(lines, "", "and " + (data.size() - DATA_SETS_SHOWN) + " more data sets");
    }
    if (sample != null) {
      addSample(lines, columns);
    }
    notes.entrySet().stream()
        .limit(NOTES_SHOWN)
        .forEach(
            note ->
                add(
                    lines,
                    note.getKey(),
                    DisplayText.cut(DisplayText.oneLine(note.getValue()), columns)));
    if (notes.size() > NOTES_SHOWN) {
      String more = "and " + (notes.size() - NOTES_SHOWN) + " more notes: " + notesLeftOut();
      add(lines, "", DisplayText.cut(DisplayText.oneLine(more), columns));
    }
    add(lines, "output", outputDir);
    return lines;
  }

  private String notesLeftOut() {
    return notes.keySet().stream().skip(NOTES_SHOWN).collect(Collectors.joining(", "));
  }

  private void addSample(List<String> lines, int columns) {
    // Words move to the next line whole, so a line is filled by two thirds at the least.
    List<String> text =
        DisplayText.wrap(sample.render(SAMPLE_LINES * columns * 2 / 3), columns).stream()
            .limit(SAMPLE_LINES)
            .toList();
    boolean learns = sample.spans().stream().anyMatch(MarkedText.Span::target);
    String caption = learns ? SAMPLE_CAPTION : "to be answered, here without the answer";
    add(lines, "sample", DisplayText.cut(caption, columns));
    text.forEach(line -> add(lines, "", line));
  }

  private static void add(List<String> lines, String label, String value) {
    lines.add(("  " + DisplayText.fit(label, LABEL_COLUMNS) + value).stripTrailing());
  }
}
