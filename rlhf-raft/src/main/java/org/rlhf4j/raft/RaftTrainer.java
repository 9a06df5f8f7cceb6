package org.rlhf4j.raft;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.EvalStrategy;
import org.rlhf4j.core.config.SaveStrategy;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.PackedRow;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.PromptSchedule;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.ModelWriter;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.report.SampleLog;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.train.BatchPlan;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.FixedModels;
import org.rlhf4j.core.train.LanguageModelStep;
import org.rlhf4j.core.train.LearningRateSchedule;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunBanner;
import org.rlhf4j.core.train.RunCheck;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TokenLoss;
import org.rlhf4j.core.train.TrainingRun;
import org.rlhf4j.reward.OpenReward;
import org.rlhf4j.reward.RewardSourceConfig;

/**
 * Reward-ranked fine-tuning (Dong et al., 2023). Each iteration draws K responses to the next
 * prompts, keeps the best and trains on them as on demonstrations: on the tokens as they were
 * sampled, prompts left out of the targets. The optimizer's state carries over from iteration to
 * iteration.
 *
 * <pre>{@code
 * RaftConfig config = Config.of(RaftConfig.class)
 *     .set("model_name_or_path", "runs/sft")
 *     .set("reward_model_name_or_path", "runs/reward")
 *     .set("dataset_path", "prompts.jsonl")
 *     .set("output_dir", "runs/raft")
 *     .build();
 * new RaftTrainer(config, RunContext.standard()).train();
 * }</pre>
 */
public final class RaftTrainer {
  /** The round of the held-out responses: the same random numbers at every evaluation. */
  private static final long HELD_OUT_ROUND = 1L << 40;

  private static final int SAMPLES_STORED = 64;

  private final RaftConfig config;
  private final TrainingConfig training;
  private final RunContext context;
  private final RewardFunction reward;

  /** A trainer with the configured reward model. */
  public RaftTrainer(RaftConfig config, RunContext context) {
    this(config, context, null);
  }

  /** A trainer with a reward of one's own, for a configuration without a reward model. */
  public RaftTrainer(RaftConfig config, RunContext context, RewardFunction reward) {
    this.config = config;
    this.training = config.training();
    this.context = context;
    this.reward = reward;
  }

  /**
   * Trains, and leaves the model at the top of {@code output_dir}. Where somebody asked to stop, it
   * leaves a checkpoint instead.
   *
   * @return the rows of metrics
   * @throws RlhfException on unusable input, and on numbers that are not finite
   */
  public List<Map<String, Object>> train() {
    config.rewardSource().requireOne(reward);
    try (TrainingRun run = TrainingRun.open("raft", config, training, context);
        CausalLm model = ModelLoader.causalLm(run.torch(), run.start(), run.trainable());
        CausalLm start = startModel(run, model);
        OpenReward opened =
            OpenReward.open(run, config.rewardSource(), reward, config.generationBatchSize());
        Generator generator = generator(run, model)) {
      FixedModels fixedModels = fixedModels(opened.identity());
      if (run.checkpoint() != null) {
        fixedModels.requireSame(run.kept());
      }
      EncodedDataset<PromptRow> data = load(run, model, training.datasetPath());
      run.reportData(data.report());
      EncodedDataset<PromptRow> held =
          training.effectiveEvalStrategy() == EvalStrategy.NO
              ? null
              : load(run, model, training.evalDatasetPath());
      Rollouts rollouts =
          new Rollouts(
              run,
              new Rollouts.Models(model, start, generator),
              opened,
              config.sampling(),
              config.generationBatchSize());
      PromptSchedule schedule =
          new PromptSchedule(
              data.size(),
              config.promptsPerIteration(),
              training.seed(),
              training.shuffleDataset());

      BatchPlan planned = planned(schedule);
      try (Optimization optimization =
          new Optimization(
              run.torch(),
              model.trained(),
              Optimization.settings(training),
              LearningRateSchedule.of(training, planned.totalSteps()),
              training.maxGradNorm())) {
        run.begin(
            new TrainingRun.Job(
                optimization,
                folder -> ModelWriter.causalLm(folder, run.start(), model, run.savedAs()),
                planned.totalSteps(),
                TrainingRun.DataUsed.of(data, held),
                false));
        RaftState state = RaftState.of(run.kept(), run.checkpoint(), fixedModels);
        run.keep(state);
        RunBanner banner =
            banner(run, model, data, schedule, planned).note("reward", opened.name());
        if (held != null) {
          banner.data("eval", held);
        }
        banner.show();

        LanguageModelStep step =
            new LanguageModelStep(
                model,
                optimization,
                TokenLoss.meanOverTargets(),
                training.activationCheckpointing());
        if (run.checkpoint() == null && held != null) {
          Rollout found = run.aside(() -> evaluate(run, rollouts, held));
          if (found == null) {
            return run.metricRows();
          }
          state.startsFrom(found.meanReward());
        }
        while (state.iteration() < config.numRaftIterations()
            && run.step() < planned.totalSteps()
            && !state.isStuck(config.earlyStoppingPatience())) {
          boolean done =
              (state.isRolledOut() || rollOut(run, rollouts, data, schedule, state))
                  && trainOnRows(run, step, schedule, state)
                  && judge(run, rollouts, held, state);
          boolean saves = done && training.saveStrategy() != SaveStrategy.NO;
          if (saves || run.stopRequested()) {
            run.save(epoch(schedule, state));
          }
          if (run.stopRequested()) {
            return run.metricRows();
          }
        }
        if (state.isStuck(config.earlyStoppingPatience())) {
          run.console()
              .line(
                  "early stopping after iteration %d: the mean reward has not risen for %d"
                      .formatted(state.iteration(), config.earlyStoppingPatience()));
        }
        run.finish();
        return run.metricRows();
      }
    } catch (StopSignal.Stopped e) {
      // While rows were being read: nothing has been written yet.
      return List.of();
    }
  }

  /** What the distance is measured from; beside adapters, the model without their training. */
  private CausalLm startModel(TrainingRun run, CausalLm model) {
    ModelFolder folder = ModelFolder.open(Path.of(training.modelNameOrPath()));
    return model.adapter() == null
        ? ModelLoader.causalLm(
            run.torch(), folder, new ModelLoader.Options(run.computeType(), false))
        : ModelLoader.reference(model, folder);
  }

  private Generator generator(TrainingRun run, CausalLm model) {
    requireTexts(run.tokenizer());
    return Generator.of(model, run.start(), run.tokenizer(), config.sampling());
  }

  private void requireTexts(Tokenizer tokenizer) {
    if (tokenizer == null && config.best().discardPattern() != null) {
      throw RlhfException.config(
          "discard_pattern: needs texts, and the model folder has no tokenizer");
    }
  }

  private FixedModels fixedModels(String rewardIdentity) {
    return FixedModels.startingFrom(Path.of(training.modelNameOrPath())).withReward(rewardIdentity);
  }

  /** Looks at what a run would read, without loading weights or writing anything. */
  public void check(Checks checks) {
    try (RunCheck run =
        new RunCheck("raft", config, training, ModelLoader::checkCausalLm, checks)) {
      Generator.check(run, config.sampling());
      if (run.readsRows()) {
        checks.require(() -> requireTexts(run.tokenizer()));
      }
      int newTokens = config.sampling().maxNewTokens();
      run.prompts(newTokens, (encoder, paths) -> load(encoder, paths), data -> data);
      RewardSourceConfig source = config.rewardSource();
      OpenReward.check(run, source, reward, run.longestRow());
      run.fixedModels(() -> fixedModels(OpenReward.identity(source)));
    }
  }

  private EncodedDataset<PromptRow> load(TrainingRun run, CausalLm model, List<Path> paths) {
    int newTokens = config.sampling().maxNewTokens();
    return load(run.promptEncoder(model.decoder().spec(), newTokens), paths);
  }

  /** Prompts, those left out that would have no room for a response. */
  private EncodedDataset<PromptRow> load(RowEncoder encoder, List<Path> paths) {
    return EncodedDataset.loadPrompts(paths, encoder, training.maxBadRows(), context.stop()::check);
  }

  /** All steps of the run, as many as there are where no response is discarded. */
  private BatchPlan planned(PromptSchedule schedule) {
    int samples = config.samplesPerPrompt();
    int rows =
        switch (config.best().selection()) {
          case PER_PROMPT ->
              schedule.size() * RaftSelection.keepCount(samples, config.best().keepFraction());
          case GLOBAL ->
              RaftSelection.keepCount(schedule.size() * samples, config.best().keepFraction());
        };
    BatchPlan one = passes(rows, 0);
    long all = one.totalSteps() * config.numRaftIterations();
    long total = training.maxSteps() > 0 ? Math.min(all, training.maxSteps()) : all;
    return new BatchPlan(rows, one.batchSize(), one.accumulation(), total, one.order());
  }

  /** The passes of an iteration over its rows, each iteration in orders of its own. */
  private BatchPlan passes(int rows, int iteration) {
    long order = CounterRandom.bits(training.seed(), RandomStream.DATA_ORDER, iteration, 1, 0);
    return BatchPlan.of(
        rows,
        new BatchPlan.Size(
            training.perDeviceTrainBatchSize(), training.gradientAccumulationSteps()),
        config.epochsPerIteration(),
        -1,
        new BatchPlan.Order(order, training.shuffleDataset()));
  }

  /** Passes over the prompts so far. */
  private double epoch(PromptSchedule schedule, RaftState state) {
    double part = 0;
    if (state.isRolledOut() && !state.rows().isEmpty()) {
      long steps = passes(state.rows().size(), state.iteration()).totalSteps();
      part = (double) state.step() / steps;
    }
    return (state.iteration() + part) * schedule.size() / schedule.prompts();
  }

  private RunBanner banner(
      TrainingRun run,
      CausalLm model,
      EncodedDataset<PromptRow> data,
      PromptSchedule schedule,
      BatchPlan planned) {
    return RunBanner.of(run, "Reward-ranked fine-tuning", model.size(), model.decoder().spec())
        .data("prompts", data)
        .batch("rows", training, planned)
        .note(
            "iterations",
            "%d, each %s prompts × %d responses, of which %s are trained on %d times"
                .formatted(
                    config.numRaftIterations(),
                    Format.count(schedule.size()),
                    config.samplesPerPrompt(),
                    Format.count(planned.rows()),
                    config.epochsPerIteration()));
  }

  /** Draws, scores and selects. False where somebody asked to stop. */
  private boolean rollOut(
      TrainingRun run,
      Rollouts rollouts,
      EncodedDataset<PromptRow> data,
      PromptSchedule schedule,
      RaftState state) {
    List<PromptRow> prompts = new ArrayList<>();
    for (int place : schedule.of(state.iteration())) {
      prompts.add(data.rows().get(place));
    }
    int number = state.iteration() + 1;
    String phase = "iteration " + number + "/" + config.numRaftIterations();
    Path folder = IterationFiles.folder(run.outputDir(), number);
    Rollout rollout =
        rollouts.make(
            prompts,
            new Rollouts.Draw(phase, config.samplesPerPrompt(), training.seed(), state.iteration()),
            folder.resolve("samples.jsonl"));
    if (rollout == null) {
      return false;
    }
    RaftSelection.Outcome outcome =
        RaftSelection.select(rollout.candidates(), config.best().rule());
    List<RewardFunction.Completion> completions = rollout.completions();
    int[] selected = outcome.selected();
    IterationFiles.writeSelected(
        folder.resolve("selected.jsonl"),
        completions,
        selected,
        rollout.rewards(),
        run.tokenizer() != null);

    List<TokenRow> rows = new ArrayList<>();
    double selectedSum = 0;
    for (int place : selected) {
      rows.add(Rollout.row(completions.get(place)));
      selectedSum += rollout.rewards()[place];
    }
    Map<String, Object> figures = new LinkedHashMap<>();
    figures.put(MetricNames.ITERATION, number);
    figures.putAll(rollout.figures());
    if (selected.length > 0) {
      figures.put(MetricNames.REWARD_SELECTED_MEAN, selectedSum / selected.length);
    } else {
      run.console().warn(phase + ": every response was discarded, there is nothing to train on");
    }
    figures.put(MetricNames.SELECTION_SAMPLES, completions.size());
    figures.put(MetricNames.SELECTION_KEPT, selected.length);
    figures.put(MetricNames.SELECTION_DROPPED, completions.size() - selected.length);
    figures.put(MetricNames.SELECTION_DISCARDED, outcome.discarded().length);
    run.write(figures);
    show(
        run,
        phase + ", before its training",
        rollout,
        training.effectiveEvalStrategy() == EvalStrategy.NO);
    state.rolledOut(rows, rollout.meanReward());
    return true;
  }

  private static void show(TrainingRun run, String title, Rollout rollout, boolean stored) {
    Map<String, Object> figures = rollout.figures();
    run.console()
        .samples(
            "%s: mean reward %s, KL to the start model %s, distinct-2 %s"
                .formatted(
                    title,
                    Format.number((Double) figures.get(MetricNames.REWARD_ALL_MEAN)),
                    Format.number((Double) figures.get(MetricNames.KL_TO_START)),
                    Format.number((Double) figures.get(MetricNames.DISTINCT_2))),
            rollout.samples(SAMPLES_STORED));
    if (stored) {
      SampleLog.write(run.outputDir(), run.step(), rollout.samples(SAMPLES_STORED));
    }
  }

  /** Trains on the selected rows. False where somebody asked to stop before the last step. */
  private boolean trainOnRows(
      TrainingRun run, LanguageModelStep step, PromptSchedule schedule, RaftState state) {
    if (state.rows().isEmpty()) {
      return true;
    }
    BatchPlan plan = passes(state.rows().size(), state.iteration());
    try (Progress progress =
        run.console()
            .progress(
                "iteration " + (state.iteration() + 1) + ": train", plan.totalSteps(), "steps")
            .resumeAt(state.step())) {
      while (state.step() < plan.totalSteps() && run.goesOn()) {
        List<List<PackedRow>> microBatches = new ArrayList<>();
        for (int[] indices : plan.microBatches(state.step())) {
          microBatches.add(pick(state.rows(), indices));
        }
        LanguageModelStep.Outcome outcome =
            run.guarded(() -> LanguageModelStep.lines(microBatches), () -> step.run(microBatches));
        state.stepDone();
        double epoch = epoch(schedule, state);
        run.finishStep(
            outcome.update(), outcome.loss(), outcome.tokens(), epoch, statistics(outcome));
        progress.advance(1);
        progress.number(MetricNames.LOSS, outcome.loss());
        if (state.step() < plan.totalSteps() && !run.stopRequested()) {
          run.saveIfDue(epoch, Long.MAX_VALUE);
        }
      }
    }
    return state.step() == plan.totalSteps() || !run.stopRequested();
  }

  private static List<PackedRow> pick(List<TokenRow> rows, int[] indices) {
    List<PackedRow> picked = new ArrayList<>();
    for (int index : indices) {
      picked.add(new PackedRow(List.of(rows.get(index))));
    }
    return picked;
  }

  private static Map<String, Double> statistics(LanguageModelStep.Outcome outcome) {
    Map<String, Double> statistics = new LinkedHashMap<>();
    statistics.put(MetricNames.MEAN_TOKEN_ACCURACY, outcome.accuracy());
    statistics.put(MetricNames.ENTROPY, outcome.entropy());
    return statistics;
  }

  /** Ends the iteration by the held-out reward. False where somebody asked to stop first. */
  private boolean judge(
      TrainingRun run, Rollouts rollouts, EncodedDataset<PromptRow> held, RaftState state) {
    if (held == null) {
      state.iterationDone(state.reward());
      return true;
    }
    Rollout found = run.aside(() -> evaluate(run, rollouts, held));
    if (found == null) {
      return false;
    }
    state.iterationDone(found.meanReward());
    return true;
  }

  /** One response to each held-out prompt, drawn as the training responses are. */
  private Rollout evaluate(TrainingRun run, Rollouts rollouts, EncodedDataset<PromptRow> held) {
    Rollout found =
        rollouts.make(
            held.rows(), new Rollouts.Draw("held-out", 1, training.seed(), HELD_OUT_ROUND), null);
    if (found != null) {
      Map<String, Object> figures = new LinkedHashMap<>();
      found.figures().forEach((name, value) -> figures.put(MetricNames.eval(name), value));
      figures.remove(MetricNames.eval(MetricNames.REWARD_BEST_OF_K));
      show(run, "held-out prompts after step " + run.step(), found, true);
      run.evaluated(figures, TrainingRun.Score.reward(found.meanReward()));
    }
    return found;
  }
}
