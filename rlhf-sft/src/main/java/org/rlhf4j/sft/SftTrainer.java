package org.rlhf4j.sft;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.PackedRow;
import org.rlhf4j.core.data.Packing;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.ModelWriter;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.train.BatchPlan;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.LanguageModelStep;
import org.rlhf4j.core.train.LearningRateSchedule;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.core.train.RunBanner;
import org.rlhf4j.core.train.RunCheck;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TokenLoss;
import org.rlhf4j.core.train.TrainingRun;

/**
 * Supervised fine-tuning: maximises the log-probability of the target tokens, each of which counts
 * the same over the whole step.
 *
 * <pre>{@code
 * SftConfig config = Config.of(SftConfig.class)
 *     .set("model_name_or_path", "models/base")
 *     .set("dataset_path", "train.jsonl")
 *     .set("output_dir", "runs/sft")
 *     .build();
 * new SftTrainer(config, RunContext.standard()).train();
 * }</pre>
 */
public final class SftTrainer {
  private final SftConfig config;
  private final TrainingConfig training;
  private final RunContext context;
  private final TokenLoss loss;

  /** A trainer with the usual loss, cross-entropy. */
  public SftTrainer(SftConfig config, RunContext context) {
    this(config, context, TokenLoss.meanOverTargets());
  }

  /** A trainer with a loss of one's own. */
  public SftTrainer(SftConfig config, RunContext context, TokenLoss loss) {
    this.config = config;
    this.training = config.training();
    this.context = context;
    this.loss = loss;
  }

  /**
   * Trains, and leaves the model at the top of {@code output_dir}. Where somebody asked to stop, it
   * leaves a checkpoint instead.
   *
   * @return the rows of metrics
   * @throws org.rlhf4j.core.RlhfException on unusable input, and on numbers that are not finite
   */
  public List<Map<String, Object>> train() {
    try (TrainingRun run = TrainingRun.open("sft", config, training, context);
        CausalLm model = ModelLoader.causalLm(run.torch(), run.start(), run.trainable())) {
      EncodedDataset<TokenRow> data = load(run, model, training.datasetPath());
      Packing.Packed packed =
          config.effectivePacking().pack(data.rows(), run.longestRow(model.decoder().spec()));
      List<PackedRow> rows = packed.rows();
      run.reportData(data.report());
      RunBanner banner =
          RunBanner.of(run, "Supervised fine-tuning", model.size(), model.decoder().spec())
              .data("train", data)
              .packed(packed);
      EncodedDataset<TokenRow> held =
          training.evalDatasetPath().isEmpty()
              ? null
              : load(run, model, training.evalDatasetPath());
      if (held != null) {
        banner.data("eval", held);
      }

      BatchPlan plan =
          BatchPlan.of(
              rows.size(),
              new BatchPlan.Size(
                  training.perDeviceTrainBatchSize(), training.gradientAccumulationSteps()),
              training.numTrainEpochs(),
              training.maxSteps(),
              new BatchPlan.Order(training.seed(), training.shuffleDataset()));
      try (Optimization optimization =
          new Optimization(
              run.torch(),
              model.trained(),
              Optimization.settings(training),
              LearningRateSchedule.of(training, plan.totalSteps()),
              training.maxGradNorm())) {
        run.begin(
            new TrainingRun.Job(
                optimization,
                folder -> ModelWriter.causalLm(folder, run.start(), model, run.savedAs()),
                plan.totalSteps(),
                TrainingRun.DataUsed.of(data, held),
                false));
        banner.batch("rows", training, plan).show();

        LanguageModelStep step =
            new LanguageModelStep(model, optimization, loss, training.activationCheckpointing());
        if (run.evaluatesFirst(plan.stepsPerEpoch())) {
          run.evaluation(() -> evaluate(run, model, held));
        }
        try (Progress progress =
            run.console().progress("train", plan.totalSteps(), "steps").resumeAt(run.step())) {
          while (run.goesOn()) {
            List<List<PackedRow>> microBatches = new ArrayList<>();
            for (int[] indices : plan.microBatches(run.step())) {
              microBatches.add(pick(rows, indices));
            }
            LanguageModelStep.Outcome outcome =
                run.guarded(
                    () -> LanguageModelStep.lines(microBatches), () -> step.run(microBatches));
            double epoch = plan.epochAfter(run.step() + 1);
            run.finishStep(
                outcome.update(), outcome.loss(), outcome.tokens(), epoch, statistics(outcome));
            progress.advance(1);
            progress.number(MetricNames.LOSS, outcome.loss());
            if (run.evaluates(plan.stepsPerEpoch())) {
              run.evaluation(() -> evaluate(run, model, held));
            }
            run.saveIfDue(epoch, plan.stepsPerEpoch());
          }
        }
        // A request may come between the last look for it and the end of the loop.
        run.saveIfDue(plan.epochAfter(run.step()), plan.stepsPerEpoch());
        if (!run.stopRequested()) {
          run.finish();
        }
        return run.metricRows();
      }
    } catch (StopSignal.Stopped e) {
      // While rows were being read: nothing has been written yet.
      return List.of();
    }
  }

  /** Looks at what a run would read, without loading weights or writing anything. */
  public void check(Checks checks) {
    try (RunCheck run = new RunCheck("sft", config, training, ModelLoader::checkCausalLm, checks)) {
      run.trainData(paths -> load(run.encoder(), paths));
      run.evalData(paths -> load(run.encoder(), paths));
    }
  }

  private EncodedDataset<TokenRow> load(TrainingRun run, CausalLm model, List<Path> paths) {
    return load(run.encoder(model.decoder().spec()), paths);
  }

  private EncodedDataset<TokenRow> load(RowEncoder encoder, List<Path> paths) {
    return EncodedDataset.loadRows(paths, encoder, training.maxBadRows(), context.stop()::check);
  }

  private static List<PackedRow> pick(List<PackedRow> rows, int[] indices) {
    List<PackedRow> picked = new ArrayList<>();
    for (int index : indices) {
      picked.add(rows.get(index));
    }
    return picked;
  }

  private static Map<String, Double> statistics(LanguageModelStep.Outcome outcome) {
    Map<String, Double> statistics = new LinkedHashMap<>();
    statistics.put(MetricNames.MEAN_TOKEN_ACCURACY, outcome.accuracy());
    statistics.put(MetricNames.ENTROPY, outcome.entropy());
    return statistics;
  }

  private void evaluate(TrainingRun run, CausalLm model, EncodedDataset<TokenRow> held) {
    List<PackedRow> rows =
        Packing.NONE.pack(held.rows(), run.longestRow(model.decoder().spec())).rows();
    LanguageModelStep.Evaluation found =
        LanguageModelStep.evaluate(model, rows, training.perDeviceTrainBatchSize(), context.stop());
    Map<String, Object> figures = new LinkedHashMap<>();
    figures.put(MetricNames.eval(MetricNames.LOSS), found.loss());
    figures.put(MetricNames.eval(MetricNames.MEAN_TOKEN_ACCURACY), found.accuracy());
    figures.put(MetricNames.eval(MetricNames.ENTROPY), found.entropy());
    run.evaluated(figures, TrainingRun.Score.loss(found.loss()));
    if (run.tokenizer() != null) {
      run.samples("answers after step " + run.step(), Answers.of(run, model, held));
    }
  }
}
