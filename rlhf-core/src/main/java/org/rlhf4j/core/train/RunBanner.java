package org.rlhf4j.core.train;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.BadRow;
import org.rlhf4j.core.data.DataReport;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.Packing;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ModelSize;
import org.rlhf4j.core.report.Banner;
import org.rlhf4j.core.report.DataSummary;
import org.rlhf4j.core.report.MarkedText;
import org.rlhf4j.core.report.Provenance;

/** Gathers what a run says of itself at its start. */
public final class RunBanner {
  private static final int BAD_ROWS_SHOWN = 3;

  private final TrainingRun run;
  private final String title;
  private final ModelSize size;
  private final String model;
  private final List<DataSummary> data = new ArrayList<>();
  private final List<String> warnings = new ArrayList<>();
  private final Map<String, String> notes = new LinkedHashMap<>();
  private MarkedText sample = new MarkedText(List.of());
  private Banner.Batch batch;

  private RunBanner(TrainingRun run, String title, ModelSize size, DecoderSpec spec) {
    this.run = run;
    this.title = title;
    this.size = size;
    this.model =
        "%s (%s, %d layers, width %d)"
            .formatted(run.modelName(), spec.family(), spec.layers(), spec.hiddenSize());
    List<String> dropouts = ModelFamilies.dropouts(run.start().config());
    if (!dropouts.isEmpty()) {
      notes.put("dropout", "none is applied, config.json has " + String.join(", ", dropouts));
    }
  }

  /** Begins with the model. */
  public static RunBanner of(TrainingRun run, String title, ModelSize size, DecoderSpec spec) {
    return new RunBanner(run, title, size, spec);
  }

  /** Adds a data set; the first one shows a row with its targets marked. */
  public RunBanner data(String name, EncodedDataset<?> dataset) {
    DataReport report = dataset.report();
    Map<String, Long> dropped = new LinkedHashMap<>();
    report.dropped().forEach((reason, count) -> dropped.put(reason, (long) count));
    if (data.isEmpty()) {
      sample =
          new MarkedText(
              dataset.decodedSample().stream()
                  .map(piece -> new MarkedText.Span(piece.text(), piece.target()))
                  .toList());
    }
    data.add(
        new DataSummary(
            name,
            report.rowsRead(),
            report.rowsKept(),
            dropped,
            report.truncated(),
            new DataSummary.LengthQuantiles(
                report.lengthP50(), report.lengthP95(), report.lengthMax()),
            report.maxLength()));
    if (report.prefixMismatchCount() > 0) {
      notes.put(
          name + " prefix",
          report.prefixMismatchCount()
              + " prompts encode differently alone than before their answer, first "
              + report.prefixMismatches().get(0));
    }
    if (!report.badRows().isEmpty()) {
      warnings.add(badRows(name, report.badRows()));
    }
    return this;
  }

  private static String badRows(String name, List<BadRow> rows) {
    int more = rows.size() - BAD_ROWS_SHOWN;
    return "%s data: %,d unusable rows are left out: %s%s"
        .formatted(
            name,
            rows.size(),
            rows.stream()
                .limit(BAD_ROWS_SHOWN)
                .map(BadRow::toString)
                .collect(Collectors.joining("; ")),
            more > 0 ? "; and %,d more".formatted(more) : "");
  }

  /** Adds what packing did, where it did anything. */
  public RunBanner packed(Packing.Packed packed) {
    long lostTargets = packed.documentTargets() - packed.rowTargets();
    if (packed.droppedTokens() > 0 || packed.truncatedDocuments() > 0 || lostTargets > 0) {
      notes.put(
          "packing",
          "%,d rows; %,d documents cut, %,d tokens and %,d targets left out"
              .formatted(
                  packed.rows().size(),
                  packed.truncatedDocuments(),
                  packed.droppedTokens(),
                  Math.max(0, lostTargets)));
    }
    return this;
  }

  /** Adds the batch arithmetic. */
  public RunBanner batch(String unit, TrainingConfig training, BatchPlan plan) {
    double epochs = (double) plan.totalSteps() / plan.stepsPerEpoch();
    batch =
        new Banner.Batch(
            unit,
            training.perDeviceTrainBatchSize(),
            training.gradientAccumulationSteps(),
            plan.rows(),
            epochs,
            plan.totalSteps());
    return this;
  }

  /** Adds a fact of the method. */
  public RunBanner note(String name, String text) {
    notes.put(name, text);
    return this;
  }

  /** Shows it. */
  public void show() {
    if (run.step() > 0) {
      notes.put("resumed", "after step " + run.step());
    }
    run.console()
        .banner(
            new Banner(
                title,
                Provenance.libraryVersion(),
                model,
                run.computeLine(),
                size.total(),
                size.trainable(),
                batch,
                data,
                sample,
                notes,
                run.outputDir().toString()));
    warnings.forEach(run.console()::warn);
  }
}
