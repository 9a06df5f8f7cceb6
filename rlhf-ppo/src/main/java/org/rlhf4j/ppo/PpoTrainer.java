package org.rlhf4j.ppo;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.EvalStrategy;
import org.rlhf4j.core.config.SaveStrategy;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.PromptSchedule;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.ModelWriter;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.report.SampleLog;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.BatchPlan;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.FixedModels;
import org.rlhf4j.core.train.LearningRateSchedule;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.rlhf4j.core.train.RunBanner;
import org.rlhf4j.core.train.RunCheck;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TrainingRun;
import org.rlhf4j.ppo.rollout.Invariants;
import org.rlhf4j.ppo.rollout.NetworkTable;
import org.rlhf4j.ppo.rollout.OnlinePrompts;
import org.rlhf4j.ppo.rollout.Responses;
import org.rlhf4j.ppo.rollout.Rewards;
import org.rlhf4j.ppo.rollout.RolloutPlan;
import org.rlhf4j.ppo.rollout.TokenRewardFunction;
import org.rlhf4j.reward.OpenReward;
import org.rlhf4j.reward.RewardSourceConfig;

/**
 * Proximal policy optimisation (Schulman et al., 2017) of a language model, as Ziegler et al.
 * (2019) set it up: a response is an episode, its score comes with the last token, and every token
 * pays for its distance from the reference. Each roll-out draws one response to each of the next
 * prompts, and is learned from for a few epochs.
 *
 * <pre>{@code
 * PpoConfig config = Config.of(PpoConfig.class)
 *     .set("model_name_or_path", "runs/sft")
 *     .set("reward_model_name_or_path", "runs/reward")
 *     .set("dataset_path", "prompts.jsonl")
 *     .set("output_dir", "runs/ppo")
 *     .build();
 * new PpoTrainer(config, RunContext.standard()).train();
 * }</pre>
 */
public final class PpoTrainer {
  /** The round of the held-out responses: the same random numbers at every evaluation. */
  private static final long HELD_OUT_ROUND = 1L << 40;

  /** How far over target_kl a step may be, as in Spinning Up and Stable-Baselines3. */
  private static final double TARGET_KL_MARGIN = 1.5;

  private static final int SAMPLES_STORED = 64;

  private final PpoConfig config;
  private final TrainingConfig training;
  private final RunContext context;
  private final Rewards.OfTokens ofTokens;
  private final RewardFunction reward;
  private final UpdatePlan updates;
  private Consumer<PpoNetworks> watcher = networks -> {};

  /** A trainer with the configured reward model. */
  public PpoTrainer(PpoConfig config, RunContext context) {
    this(config, context, null);
  }

  /**
   * A trainer with a reward of one's own, for a configuration without a reward model.
   *
   * @param reward of whole responses, or a {@link TokenRewardFunction}
   */
  public PpoTrainer(PpoConfig config, RunContext context, RewardFunction reward) {
    this.config = config;
    this.training = config.training();
    this.context = context;
    this.updates = new UpdatePlan(config);
    this.ofTokens =
        reward instanceof TokenRewardFunction dense ? new Rewards.OfTokens(dense) : null;
    this.reward = ofTokens == null ? reward : ofTokens;
    if (ofTokens != null && config.rollout().deltaReward()) {
      throw RlhfException.config(
          "delta_reward true: takes one score off another; the reward function gives one for each"
              + " token");
    }
  }

  /** Shows the networks of a run, before anything is computed, to a test that changes them. */
  void watch(Consumer<PpoNetworks> newWatcher) {
    watcher = newWatcher;
  }

  /** The parts of a run, all closed by {@link #train}. */
  private record Parts(
      TrainingRun run,
      PpoNetworks networks,
      Rollouts rollouts,
      TrlxRollouts asTrlx,
      Rewards rewards,
      Invariants invariants,
      OnlinePrompts prompts,
      OnlinePrompts held) {}

  /**
   * Trains, and leaves the model at the top of {@code output_dir}. Where somebody asked to stop, it
   * leaves a checkpoint instead.
   *
   * @return the rows of metrics
   * @throws RlhfException on unusable input, and on numbers that are not finite
   */
  public List<Map<String, Object>> train() {
    config.rollout().rewardSource().requireOne(reward);
    try (TrainingRun run = TrainingRun.open("ppo", config, training, context);
        PpoNetworks networks = networks(run);
        OpenReward opened =
            OpenReward.open(
                run,
                config.rollout().rewardSource(),
                reward,
                config.rollout().generationBatchSize());
        Generator generator =
            Generator.of(
                networks.policy(), run.start(), run.tokenizer(), config.rollout().sampling())) {
      watcher.accept(networks);
      int longestRow = run.longestRow(networks.policy().decoder().spec());
      networks.requireContext(longestRow);
      FixedModels fixedModels = fixedModels(opened.identity());
      if (run.checkpoint() != null) {
        fixedModels.requireSame(run.kept());
      }
      OnlinePrompts prompts = load(run, networks, training.datasetPath());
      run.reportData(prompts.data().report());
      OnlinePrompts held =
          training.effectiveEvalStrategy() == EvalStrategy.NO
              ? null
              : load(run, networks, training.evalDatasetPath());
      opened.warnOfContext(run.console(), Math.max(longestRow, prompts.longestAnswered()));
      Rewards rewards = new Rewards(opened, ofTokens, config.rollout().deltaReward());
      Responses.Settings settings =
          new Responses.Settings(
              config.rollout().generationBatchSize(), training.seed(), context.stop());
      Responses responses = new Responses(run, generator, rewards, settings);
      Rollouts rollouts = new Rollouts(run, networks, responses, settings);
      RolloutPlan plan = plan(prompts);
      List<Optimization.Part> trained = networks.trained(config.valueRate());
      try (Optimization optimization =
          new Optimization(
              run.torch(),
              trained,
              Optimization.settings(training),
              LearningRateSchedule.of(training, plan.totalSteps()),
              training.maxGradNorm())) {
        run.begin(
            new TrainingRun.Job(
                optimization,
                folder -> save(folder, run, networks),
                plan.totalSteps(),
                TrainingRun.DataUsed.of(prompts.data(), held == null ? null : held.data()),
                false));
        PpoState state = PpoState.of(run.kept(), run.checkpoint(), config.update(), fixedModels);
        run.keep(state);
        String value = run.checkpoint() == null ? startValue(networks) : null;
        double tolerance = opened.tolerance(run.computeType());
        Invariants invariants =
            new Invariants(networks::referenceFingerprint, run.computeType(), tolerance);
        TrlxRollouts asTrlx =
            followsTrlx() ? TrlxRollouts.of(config, run, networks, responses) : null;
        Parts parts =
            new Parts(run, networks, rollouts, asTrlx, rewards, invariants, prompts, held);
        banner(parts, plan, opened.name());
        if (value != null) {
          run.console().line("value network: " + value);
        }
        Step step = step(parts, optimization, trained);
        responses.beforeFailure(() -> rescue(parts, plan, state));
        if (run.evaluatesFirst(Long.MAX_VALUE)) {
          run.evaluation(() -> evaluate(parts, state));
        }
        while (state.rollout() < plan.rollouts() && run.goesOn()) {
          try (TrunkCache cache = cache(parts, state, plan)) {
            if (!state.isRolledOut()) {
              rollOut(parts, cache, plan, state);
            }
            update(parts, step, cache, plan, state);
          } catch (StopSignal.Stopped e) {
            run.console().line("roll-out " + (state.rollout() + 1) + " was broken off");
          }
        }
        finish(parts, plan, state);
        return run.metricRows();
      }
    } catch (StopSignal.Stopped e) {
      // While rows were being read: nothing has been written yet.
      return List.of();
    }
  }

  /** Saves what was learned since the last checkpoint, where the reward ends the run. */
  private void rescue(Parts parts, RolloutPlan plan, PpoState state) {
    TrainingRun run = parts.run();
    if (run.step() > 0 && !run.isSaved()) {
      run.save(epoch(parts.prompts(), plan, state));
      run.console()
          .line(
              "the reward failed; a checkpoint of step %d was saved, resume_from_checkpoint auto goes on from it"
                  .formatted(run.step()));
    }
  }

  private PpoNetworks networks(TrainingRun run) {
    NetworkConfig network = config.network();
    String value = network.valueModelNameOrPath();
    // What is frozen comes from where the run began, also where it goes on from a checkpoint.
    return PpoNetworks.load(
        run.torch(),
        ModelFolder.open(Path.of(training.modelNameOrPath())),
        new PpoNetworks.Options(
            run.computeType(),
            run.trainable().lora(),
            training.seed(),
            new ModelLoader.Split(
                network.numLayersUnfrozen(),
                config.trlxCompat().embeddings(),
                network.shareTrunk()),
            network.valueNetwork(),
            network.numValueLayersUnfrozen(),
            value == null ? null : ModelFolder.open(Path.of(value)),
            config.rollout().sampling().temperature(),
            training.activationCheckpointing() ? Recording.PER_BLOCK : Recording.FULL));
  }

  /**
   * Takes the value network's weights from the start folder where it has some; a checkpoint's were
   * restored.
   *
   * @return what was done with them; null where there are none
   */
  private String startValue(PpoNetworks networks) {
    Path start = Path.of(training.modelNameOrPath());
    String file = "the start folder's " + PpoNetworks.VALUE_FILE;
    if (!Files.exists(start.resolve(PpoNetworks.VALUE_FILE))) {
      return null;
    }
    if (config.network().valueModelNameOrPath() != null) {
      return "starts from value_model_name_or_path; " + file + " is not used";
    }
    return networks.readValue(start)
        ? "goes on from " + file
        : file + " is of another layout and not used";
  }

  private boolean followsTrlx() {
    return config.trlxCompat() != TrlxCompat.NONE;
  }

  /** One optimizer step, see {@link PpoStep#run}. */
  private interface Step {
    PpoStep.Outcome run(
        List<Experience> samples,
        List<int[]> microBatches,
        TrunkCache cache,
        Predicate<Map<String, Double>> guard);
  }

  private Step step(Parts parts, Optimization optimization, List<Optimization.Part> trained) {
    Torch torch = parts.run().torch();
    if (!followsTrlx()) {
      return new PpoStep(torch, parts.networks(), optimization, trained, config.update())::run;
    }
    TrlxStep step =
        new TrlxStep(
            torch, parts.networks(), optimization, trained, parts.asTrlx().steps(config.update()));
    return (samples, microBatches, cache, guard) -> step.run(samples, microBatches, guard);
  }

  private FixedModels fixedModels(String rewardIdentity) {
    String valueFolder = config.network().valueModelNameOrPath();
    return FixedModels.startingFrom(Path.of(training.modelNameOrPath()))
        .withReward(rewardIdentity)
        .with("value_model_name_or_path", valueFolder == null ? null : Path.of(valueFolder));
  }

  /** Looks at what a run would read, without loading weights or writing anything. */
  public void check(Checks checks) {
    int unfrozen = config.network().numLayersUnfrozen();
    try (RunCheck run =
        new RunCheck(
            "ppo",
            config,
            training,
            (folder, lora) -> ModelLoader.checkHydra(folder, lora, unfrozen),
            checks)) {
      PpoNetworks.checkValue(run, config.network());
      Generator.check(run, config.rollout().sampling());
      if (followsTrlx() && run.readsRows()) {
        List<String> stops = config.rollout().sampling().stop();
        checks.look(() -> TrlxRollouts.text(config.trlxCompat(), run.tokenizer(), stops));
      }
      int newTokens = config.rollout().sampling().maxNewTokens();
      OnlinePrompts prompts =
          run.prompts(newTokens, (encoder, paths) -> load(encoder, paths), OnlinePrompts::data);
      int answered = prompts == null ? 0 : prompts.longestAnswered();
      RewardSourceConfig source = config.rollout().rewardSource();
      OpenReward.check(run, source, reward, Math.max(run.longestRow(), answered));
      run.fixedModels(() -> fixedModels(OpenReward.identity(source)));
    }
  }

  private OnlinePrompts load(TrainingRun run, PpoNetworks networks, List<Path> paths) {
    int newTokens = config.rollout().sampling().maxNewTokens();
    return load(run.promptEncoder(networks.policy().decoder().spec(), newTokens), paths);
  }

  private OnlinePrompts load(RowEncoder encoder, List<Path> paths) {
    return OnlinePrompts.load(
        paths, encoder, training, config.rollout().deltaReward(), context.stop());
  }

  private static void save(Path folder, TrainingRun run, PpoNetworks networks) {
    ModelWriter.causalLm(folder, run.start(), networks.policy(), run.savedAs());
    networks.writeValue(folder, run.savedAs().type());
  }

  private RolloutPlan plan(OnlinePrompts prompts) {
    return RolloutPlan.of(
        new PromptSchedule(
            prompts.data().size(),
            config.rollout().rolloutBatchSize(),
            training.seed(),
            training.shuffleDataset()),
        config.rollout().totalEpisodes(),
        training,
        samples -> updates.passes(samples, 0).totalSteps(),
        context.console());
  }

  /** Passes over the prompts so far. */
  private double epoch(OnlinePrompts prompts, RolloutPlan plan, PpoState state) {
    double episodes = plan.before(state.rollout());
    if (state.isRolledOut()) {
      int size = state.samples().size();
      long steps = updates.passes(size, state.rollout()).totalSteps();
      episodes += (double) size * state.step() / steps;
    }
    return episodes / prompts.data().size();
  }

  private void banner(Parts parts, RolloutPlan plan, String reward) {
    TrainingRun run = parts.run();
    NetworkTable table = parts.networks().table();
    RunBanner banner =
        RunBanner.of(
                run,
                "Proximal policy optimisation",
                table.size(),
                parts.networks().policy().decoder().spec())
            .data("prompts", parts.prompts().data())
            .note(
                "roll-outs",
                "%d, each %s samples × %d epochs in steps of %d, %d side by side; %s steps"
                    .formatted(
                        plan.rollouts(),
                        Format.count(plan.schedule().size()),
                        config.update().numPpoEpochs(),
                        config.update().miniBatchSize(),
                        config.microBatchSize(),
                        Format.count(plan.totalSteps())))
            .note("reward", reward);
    if (parts.held() != null) {
      banner.data("eval", parts.held().data());
    }
    banner.show();
    table.show(run.console());
  }

  /** The trunk states of the roll-out under way, those that were there before made again. */
  private TrunkCache cache(Parts parts, PpoState state, RolloutPlan plan) {
    if (!config.keepsTrunk()) {
      return null;
    }
    return state.isRolledOut()
        ? TrunkCache.of(
            parts.run().torch(),
            parts.networks(),
            state.samples().stream().map(Experience::row).toList(),
            config.rollout().generationBatchSize())
        : new TrunkCache(parts.run().torch(), plan.size(state.rollout()));
  }

  /** Draws and scores the next roll-out, and makes experience of it. */
  private void rollOut(Parts parts, TrunkCache cache, RolloutPlan plan, PpoState state) {
    TrainingRun run = parts.run();
    Responses.Draw draw =
        new Responses.Draw(
            plan.phase(state.rollout()),
            plan.pick(state.rollout(), parts.prompts().data().rows()),
            parts.prompts().answers(),
            state.rollout());
    TrlxRollouts.Made asTrlx =
        followsTrlx() ? parts.asTrlx().make(draw, state.scaling(), state.klCoefficient()) : null;
    Rollout rollout = asTrlx == null ? parts.rollouts().make(draw, cache) : asTrlx.rollout();
    if (config.rollout().checkInvariants() && run.step() == 0 && state.rollout() == 0) {
      checkFirst(parts, rollout);
    }

    Map<String, Object> figures = new LinkedHashMap<>();
    figures.put(MetricNames.EPISODE, plan.before(state.rollout()) + rollout.size());
    figures.putAll(rollout.figures());
    figures.put(MetricNames.OBJECTIVE_KL_COEF, state.klCoefficient());
    ExperienceMaker maker = new ExperienceMaker(config.rollout().shaping(), config.update());
    ExperienceMaker.Made made =
        asTrlx == null ? maker.make(rollout, state.scaling(), state.klCoefficient()) : null;
    figures.putAll(asTrlx == null ? made.figures() : asTrlx.figures());
    figures.put(MetricNames.EARLY_STOPS, state.earlyStops());
    addDrift(parts, figures);
    figures.put(MetricNames.TIMING_SAMPLE, rollout.seconds().sampling());
    figures.put(MetricNames.TIMING_SCORE, rollout.seconds().scoring());
    if (asTrlx == null) {
      state.rolledOut(made.samples(), rollout.meanKl(), made.scaling());
    } else {
      state.rolledOutAsTrlx(asTrlx.samples(), asTrlx.measuredKl(), asTrlx.scaling());
    }
    run.console()
        .line(
            "%s: mean score %s, KL to the reference %s"
                .formatted(
                    plan.phase(state.rollout()),
                    Format.number(rollout.meanScore()),
                    Format.number(rollout.meanKl())));
    if (parts.held() == null) {
      show(run, plan.phase(state.rollout()), rollout, isLast(run, plan, state));
    }
    run.write(figures);
  }

  /** Nothing is said of a reference that stands on what the policy trains, as in trlX. */
  private static void addDrift(Parts parts, Map<String, Object> figures) {
    if (parts.networks().isReferenceFrozen()) {
      figures.put(MetricNames.REFERENCE_DRIFT, parts.invariants().drift());
    }
  }

  /** Whether the run ends with the steps on the roll-out that was just drawn. */
  private boolean isLast(TrainingRun run, RolloutPlan plan, PpoState state) {
    long steps = updates.passes(state.samples().size(), state.rollout()).totalSteps();
    return state.rollout() + 1 == plan.rollouts() || run.step() + steps >= plan.totalSteps();
  }

  /** What the first roll-out of a run shows about networks and reward. */
  private void checkFirst(Parts parts, Rollout rollout) {
    Invariants invariants = parts.invariants();
    invariants.requireReferenceIsPolicy(rollout.logProbs(), rollout.referenceLogProbs());
    if (followsTrlx()) {
      // Where padding is counted, what the networks say of a sample does depend on its batch.
      return;
    }
    invariants.requireSameSampled(rollout.responses(), rollout.logProbs());
    int shortest = 0;
    int longest = 0;
    for (int i = 1; i < rollout.size(); i++) {
      shortest = rollout.length(i) < rollout.length(shortest) ? i : shortest;
      longest = rollout.length(i) > rollout.length(longest) ? i : longest;
    }
    for (int place : shortest == longest ? List.of(0) : List.of(shortest, longest)) {
      Completion one =
          Responses.completion(rollout.prompts().get(place), 0, rollout.responses().get(place));
      invariants.requireSameReward(
          parts.rewards().of(List.of(one), parts.prompts().answers()).scores()[0],
          rollout.scores()[place]);
      PpoNetworks.Scored alone = parts.rollouts().alone(Responses.row(one.promptIds(), one.ids()));
      invariants.requireSameAlone(rollout.logProbs()[place], alone.logProbs());
      invariants.requireSameValuesAlone(rollout.values()[place], alone.values());
    }
  }

  private static void show(TrainingRun run, String title, Rollout rollout, boolean shown) {
    if (shown) {
      run.console()
          .samples(
              "%s: mean score %s, KL to the reference %s"
                  .formatted(
                      title, Format.number(rollout.meanScore()), Format.number(rollout.meanKl())),
              rollout.samples(SAMPLES_STORED));
    }
    SampleLog.write(run.outputDir(), run.step(), rollout.samples(SAMPLES_STORED));
  }

  /** Learns from the roll-out under way, until its last step or until somebody asks to stop. */
  private void update(Parts parts, Step step, TrunkCache cache, RolloutPlan plan, PpoState state) {
    TrainingRun run = parts.run();
    BatchPlan passes = updates.passes(state.samples().size(), state.rollout());
    int rollout = state.rollout();
    try (Progress progress =
        run.console()
            .progress(plan.phase(state.rollout()) + ": update", passes.totalSteps(), "steps")
            .resumeAt(state.step())) {
      while (state.rollout() == rollout && run.goesOn()) {
        List<Experience> samples = state.samples();
        List<int[]> microBatches = updates.microBatches(samples, passes, state.step());
        long begun = System.nanoTime();
        boolean first = state.step() == 0;
        PpoStep.Outcome outcome =
            run.guarded(
                () -> PpoStep.lines(samples, microBatches),
                () ->
                    step.run(
                        samples,
                        microBatches,
                        cache,
                        found -> isWithinLimits(parts.invariants(), found, first)));
        boolean stops = outcome.update() == null;
        if (stops) {
          stopEarly(parts, outcome, passes.totalSteps(), plan, state);
        } else {
          state.stepDone();
          if (followsTrlx() && updates.movesController(passes, state.step())) {
            state.moveKlCoefficient(
                outcome.figure(MetricNames.KL_TO_OLD), config.update().miniBatchSize());
          }
        }
        boolean ended = stops || state.step() == passes.totalSteps();
        if (ended && !stops) {
          state.rolloutDone();
        }
        double epoch = epoch(parts.prompts(), plan, state);
        if (!stops) {
          Map<String, Double> figures = new LinkedHashMap<>(outcome.figures());
          figures.put(MetricNames.TIMING_UPDATE, (System.nanoTime() - begun) * 1e-9);
          run.finishStep(outcome.update(), outcome.loss(), outcome.tokens(), epoch, figures);
          progress.advance(1);
          progress.number(MetricNames.LOSS, outcome.loss());
          progress.number(MetricNames.KL_TO_OLD, outcome.figure(MetricNames.KL_TO_OLD));
        }
        long every = ended ? 1 : Long.MAX_VALUE;
        // A roll-out that ends early may have been evaluated after its last step.
        if (run.evaluates(every) && !state.isEvaluated(run.step())) {
          run.evaluation(() -> evaluate(parts, state));
        }
        run.saveIfDue(epoch, every);
      }
    }
  }

  /** Ends the roll-out under way before a step that would start too far from its policy. */
  private static void stopEarly(
      Parts parts, PpoStep.Outcome outcome, long planned, RolloutPlan plan, PpoState state) {
    TrainingRun run = parts.run();
    double kl = outcome.figure(MetricNames.KL_TO_OLD);
    run.console()
        .line(
            "%s: ended after %d of %d steps, the KL to the policy that drew it is %s"
                .formatted(plan.phase(state.rollout()), state.step(), planned, Format.number(kl)));
    Map<String, Object> figures = new LinkedHashMap<>();
    figures.put(MetricNames.EARLY_STOP_STEPS, state.step());
    figures.put(MetricNames.EARLY_STOP_PLANNED, planned);
    figures.put(MetricNames.EARLY_STOP_KL, kl);
    state.stoppedEarly();
    figures.put(MetricNames.EARLY_STOPS, state.earlyStops());
    run.write(figures);
  }

  /** Whether a step may be made with what was found before it. */
  private boolean isWithinLimits(
      Invariants invariants, Map<String, Double> found, boolean isFirst) {
    if (isFirst && config.rollout().checkInvariants() && beginsWithRatioOne()) {
      invariants.requireRatioOne(found.get(MetricNames.RATIO));
      if (!followsTrlx()) {
        invariants.requireLogRatiosZero(found.get(MetricNames.LARGEST_LOG_RATIO));
      }
    }
    Double target = config.update().targetKl();
    return target == null || found.get(MetricNames.KL_TO_OLD) <= TARGET_KL_MARGIN * target;
  }

  /**
   * Whether a step scores samples as their roll-out did: where padding is counted, only samples of
   * one chunk are padded alike.
   */
  private boolean beginsWithRatioOne() {
    return !followsTrlx()
        || config.trlxCompat().skipsPadding()
        || config.rollout().generationBatchSize() >= config.rollout().rolloutBatchSize();
  }

  /** One response to each held-out prompt, drawn as the training responses are. */
  private void evaluate(Parts parts, PpoState state) {
    TrainingRun run = parts.run();
    Rollout found =
        parts
            .rollouts()
            .make(
                new Responses.Draw(
                    "held-out", parts.held().data().rows(), parts.held().answers(), HELD_OUT_ROUND),
                null);
    Map<String, Object> figures = new LinkedHashMap<>();
    found.figures().forEach((name, value) -> figures.put(MetricNames.eval(name), value));
    addDrift(parts, figures);
    show(run, "held-out prompts after step " + run.step(), found, true);
    state.evaluated(run.step());
    run.evaluated(figures, TrainingRun.Score.reward(found.meanScore()));
  }

  /** Evaluates and saves after the last step, where that was not yet done, and writes the model. */
  private void finish(Parts parts, RolloutPlan plan, PpoState state) {
    TrainingRun run = parts.run();
    if (!run.stopRequested() && parts.held() != null && !state.isEvaluated(run.step())) {
      run.evaluation(() -> evaluate(parts, state));
    }
    boolean saves = training.saveStrategy() != SaveStrategy.NO || run.stopRequested();
    if (saves && !run.isSaved()) {
      run.save(epoch(parts.prompts(), plan, state));
    }
    if (!run.stopRequested()) {
      run.finish();
    }
  }
}
