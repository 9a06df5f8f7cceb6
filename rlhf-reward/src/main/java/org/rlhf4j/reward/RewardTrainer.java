package org.rlhf4j.reward;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ConfigJson;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.data.TokenPair;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.data.TokenRowWriter;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.ModelWriter;
import org.rlhf4j.core.model.RewardModel;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.report.Sample;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.train.BatchPlan;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.LearningRateSchedule;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.core.train.RunBanner;
import org.rlhf4j.core.train.RunCheck;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TrainingRun;

/**
 * Trains a reward model on preference pairs: the score of a text is read at its last token, and the
 * preferred side of a pair shall score higher. It starts from a language model, whose trunk gets a
 * fresh score head, or from a reward model.
 *
 * <pre>{@code
 * RewardConfig config = Config.of(RewardConfig.class)
 *     .set("model_name_or_path", "runs/sft")
 *     .set("dataset_path", "pairs.jsonl")
 *     .set("output_dir", "runs/reward")
 *     .build();
 * new RewardTrainer(config, RunContext.standard()).train();
 * }</pre>
 */
public final class RewardTrainer {
  private static final int PAIRS_STORED = 32;

  private final RewardConfig config;
  private final TrainingConfig training;
  private final RunContext context;
  private final PairLoss loss;

  /** A trainer with the usual loss, Bradley and Terry's with the configured centring. */
  public RewardTrainer(RewardConfig config, RunContext context) {
    this(config, context, RewardLoss.meanOverPairs(config.centerRewardsCoefficient()));
  }

  /** A trainer with a loss of one's own. */
  public RewardTrainer(RewardConfig config, RunContext context, PairLoss loss) {
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
    try (TrainingRun run = TrainingRun.open("reward", config, training, context);
        RewardModel model =
            ModelLoader.rewardModel(run.torch(), run.start(), run.trainable(), training.seed())) {
      int padTokenId = padTokenId(run.start(), run.tokenizer());
      EncodedDataset<TokenPair> data = load(run, model, training.datasetPath(), padTokenId);
      List<TokenPair> pairs = withMargins(data.rows());
      run.reportData(data.report());
      RunBanner banner =
          RunBanner.of(run, "Reward model", model.size(), model.decoder().spec())
              .data("train", data);
      EncodedDataset<TokenPair> held =
          training.evalDatasetPath().isEmpty()
              ? null
              : load(run, model, training.evalDatasetPath(), padTokenId);
      if (held != null) {
        banner.data("eval", held);
      }

      BatchPlan plan =
          BatchPlan.of(
              pairs.size(),
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
        Saver saver = new Saver(run, model, padTokenId);
        run.begin(
            new TrainingRun.Job(
                optimization, saver, plan.totalSteps(), TrainingRun.DataUsed.of(data, held), true));
        saver.resume();
        banner.batch("pairs", training, plan).show();

        PairStep step = new PairStep(model, optimization, loss, training.activationCheckpointing());
        if (run.evaluatesFirst(plan.stepsPerEpoch())) {
          run.evaluation(() -> evaluate(run, step, held, saver));
        }
        try (Progress progress =
            run.console().progress("train", plan.totalSteps(), "steps").resumeAt(run.step())) {
          while (run.goesOn()) {
            List<List<TokenPair>> microBatches = new ArrayList<>();
            for (int[] indices : plan.microBatches(run.step())) {
              microBatches.add(pick(pairs, indices));
            }
            PairStep.Outcome outcome =
                run.guarded(() -> lines(microBatches), () -> step.run(microBatches));
            double epoch = plan.epochAfter(run.step() + 1);
            run.finishStep(
                outcome.update(),
                outcome.loss(),
                outcome.tokens(),
                epoch,
                outcome.scores().metrics());
            progress.advance(1);
            progress.number(MetricNames.LOSS, outcome.loss());
            if (run.evaluates(plan.stepsPerEpoch())) {
              run.evaluation(() -> evaluate(run, step, held, saver));
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
    try (RunCheck run =
        new RunCheck("reward", config, training, ModelLoader::checkRewardModel, checks)) {
      Integer padTokenId =
          run.readsRows() ? checks.look(() -> padTokenId(run.start(), run.tokenizer())) : null;
      // Without a pad token there is an error already, and any id may stand at a row's end.
      int pad = padTokenId == null ? -1 : padTokenId;
      run.trainData(paths -> load(run.start(), run.encoder(), paths, pad));
      run.evalData(paths -> load(run.start(), run.encoder(), paths, pad));
    }
  }

  private int padTokenId(ModelFolder start, Tokenizer tokenizer) {
    OptionalInt ofTokenizer = tokenizer == null ? OptionalInt.empty() : tokenizer.padId();
    return ConfigJson.rewardPadTokenId(start, ofTokenizer, training.appendEos());
  }

  private EncodedDataset<TokenPair> load(
      TrainingRun run, RewardModel model, List<Path> paths, int padTokenId) {
    return load(run.start(), run.encoder(model.decoder().spec()), paths, padTokenId);
  }

  private EncodedDataset<TokenPair> load(
      ModelFolder start, RowEncoder encoder, List<Path> paths, int padTokenId) {
    EncodedDataset<TokenPair> data =
        EncodedDataset.loadPairs(paths, encoder, training.maxBadRows(), context.stop()::check);
    for (int i = 0; i < data.size(); i++) {
      for (TokenRow side : sides(data.rows().get(i))) {
        if (side.ids()[side.length() - 1] == padTokenId) {
          throw RlhfException.config(
              "%s: ends with token %d, which would be the reward model's"
                      .formatted(data.origins().get(i), padTokenId)
                  + " pad token: Hugging Face would read its score one token early; set another"
                  + " pad_token_id in "
                  + start.configFile());
        }
      }
    }
    return data;
  }

  private static List<TokenRow> sides(TokenPair pair) {
    return List.of(pair.chosen(), pair.rejected());
  }

  private List<TokenPair> withMargins(List<TokenPair> pairs) {
    return config.useMargin()
        ? pairs
        : pairs.stream().map(pair -> new TokenPair(pair.chosen(), pair.rejected(), 0)).toList();
  }

  private static List<TokenPair> pick(List<TokenPair> pairs, int[] indices) {
    List<TokenPair> picked = new ArrayList<>();
    for (int index : indices) {
      picked.add(pairs.get(index));
    }
    return picked;
  }

  private static List<String> lines(List<List<TokenPair>> microBatches) {
    return microBatches.stream().flatMap(List::stream).map(TokenRowWriter::line).toList();
  }

  private void evaluate(
      TrainingRun run, PairStep step, EncodedDataset<TokenPair> held, Saver saver) {
    PairStep.Evaluation found =
        step.evaluate(withMargins(held.rows()), training.perDeviceTrainBatchSize(), context.stop());
    saver.stats = RewardStats.of(found.scores().both());
    Map<String, Object> figures = new LinkedHashMap<>();
    figures.put(MetricNames.eval(MetricNames.LOSS), found.loss());
    found.scores().metrics().forEach((name, value) -> figures.put(MetricNames.eval(name), value));
    run.evaluated(figures, TrainingRun.Score.loss(found.loss()));
    run.samples(
        "scores after step " + run.step() + ", the preferred side first",
        samples(held, found.scores(), run.tokenizer()));
  }

  /** Both sides of the first few pairs; texts are empty without a tokenizer. */
  private static List<Sample> samples(
      EncodedDataset<TokenPair> held, PairScores scores, Tokenizer tokenizer) {
    List<Sample> samples = new ArrayList<>();
    for (int i = 0; i < Math.min(PAIRS_STORED, held.size()); i++) {
      TokenPair pair = held.rows().get(i);
      int index = held.origins().get(i).index();
      samples.add(sample(index, pair.chosen(), scores.chosen()[i], tokenizer));
      samples.add(sample(index, pair.rejected(), scores.rejected()[i], tokenizer));
    }
    return samples;
  }

  private static Sample sample(int index, TokenRow side, double score, Tokenizer tokenizer) {
    int[] ids = side.ids();
    int answer = side.firstTarget();
    String prompt = tokenizer == null ? "" : tokenizer.decode(Arrays.copyOf(ids, answer));
    String text =
        tokenizer == null ? "" : tokenizer.decode(Arrays.copyOfRange(ids, answer, ids.length));
    return new Sample(index, prompt, text, score, null, ids.length - answer);
  }

  /** Writes the model, and beside it how its scores were spread when it was last evaluated. */
  private static final class Saver implements TrainingRun.ModelSaver {
    private final TrainingRun run;
    private final RewardModel model;
    private final int padTokenId;

    /** Null before the first evaluation. */
    private RewardStats stats;

    Saver(TrainingRun run, RewardModel model, int padTokenId) {
      this.run = run;
      this.model = model;
      this.padTokenId = padTokenId;
    }

    void resume() {
      if (run.step() > 0 && RewardStats.existsIn(run.start().path())) {
        stats = RewardStats.read(run.start().path());
      }
    }

    @Override
    public void write(Path folder) {
      ModelWriter.rewardModel(folder, run.start(), model, run.savedAs(), padTokenId);
      if (stats != null) {
        stats.write(folder);
      }
    }
  }
}
