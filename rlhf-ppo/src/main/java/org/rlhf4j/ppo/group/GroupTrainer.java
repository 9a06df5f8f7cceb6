package org.rlhf4j.ppo.group;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.EvalStrategy;
import org.rlhf4j.core.config.Problems;
import org.rlhf4j.core.config.SaveStrategy;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.PromptRow;
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
import org.rlhf4j.ppo.rollout.Lengths;
import org.rlhf4j.ppo.rollout.NetworkTable;
import org.rlhf4j.ppo.rollout.OnlinePrompts;
import org.rlhf4j.ppo.rollout.Responses;
import org.rlhf4j.ppo.rollout.Rewards;
import org.rlhf4j.ppo.rollout.RolloutConfig;
import org.rlhf4j.ppo.rollout.RolloutPlan;
import org.rlhf4j.ppo.rollout.Spread;
import org.rlhf4j.reward.OpenReward;
import org.rlhf4j.reward.RewardSourceConfig;

/**
 * A run of a group method: each roll-out draws a group of responses to each of the next prompts,
 * has them compared by the method, and is learned from. {@link GrpoTrainer}, {@link RlooTrainer}
 * and {@link ReinforcePlusPlusTrainer} are runs of their methods; a {@link GroupMethod} of one's
 * own is handed in the same way.
 *
 * <pre>{@code
 * GrpoConfig config = Config.of(GrpoConfig.class)….build();
 * GroupTrainer.Keys keys =
 *     new GroupTrainer.Keys(config, config.training(), config.rollout(), config.group());
 * new GroupTrainer(new MyMethod(config), keys, RunContext.standard(), null).train();
 * }</pre>
 */
public final class GroupTrainer {
  /** The round of the held-out responses: the same random numbers at every evaluation. */
  private static final long HELD_OUT_ROUND = 1L << 40;

  private static final int SAMPLES_STORED = 64;

  private final GroupMethod method;
  private final Keys keys;
  private final TrainingConfig training;
  private final RolloutConfig rolling;
  private final GroupConfig group;
  private final RunContext context;
  private final RewardFunction reward;
  private Consumer<GroupNetworks> watcher = networks -> {};

  /**
   * The keys of a run.
   *
   * @param all of them, as they are stored and compared when a run goes on; the others are its
   *     parts
   */
  public record Keys(
      Record all, TrainingConfig training, RolloutConfig rollout, GroupConfig group) {}

  /**
   * A run of a method.
   *
   * @param reward of one's own, for a configuration without a reward model; else null
   * @throws RlhfException where the keys contradict each other
   */
  public GroupTrainer(GroupMethod method, Keys keys, RunContext context, RewardFunction reward) {
    this.method = method;
    this.keys = keys;
    this.training = keys.training();
    this.rolling = keys.rollout();
    this.group = keys.group();
    this.context = context;
    this.reward = reward;
    Problems problems = new Problems();
    group.check(problems, training, rolling);
    if (!problems.lines().isEmpty()) {
      throw RlhfException.config(String.join("\n", problems.lines()));
    }
  }

  /** Shows the networks of a run, before anything is computed, to a test that changes them. */
  void watch(Consumer<GroupNetworks> newWatcher) {
    watcher = newWatcher;
  }

  /** The parts of a run, all closed by {@link #train}. */
  private record Parts(
      TrainingRun run,
      GroupNetworks networks,
      GroupRollouts rollouts,
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
    rolling.rewardSource().requireOne(reward);
    try (TrainingRun run = TrainingRun.open(method.name(), keys.all(), training, context);
        GroupNetworks networks = networks(run);
        OpenReward opened =
            OpenReward.open(run, rolling.rewardSource(), reward, rolling.generationBatchSize());
        Generator generator =
            Generator.of(networks.policy(), run.start(), run.tokenizer(), rolling.sampling())) {
      watcher.accept(networks);
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
      int longestRow = run.longestRow(networks.policy().decoder().spec());
      opened.warnOfContext(run.console(), Math.max(longestRow, prompts.longestAnswered()));
      Rewards rewards = new Rewards(opened, null, rolling.deltaReward());
      int batchSize = rolling.generationBatchSize();
      Responses responses =
          new Responses(
              run,
              generator,
              rewards,
              new Responses.Settings(batchSize, training.seed(), context.stop()));
      GroupRollouts rollouts =
          new GroupRollouts(
              run,
              networks,
              responses,
              new GroupRollouts.Settings(
                  training.perDeviceTrainBatchSize(), batchSize, context.stop()));
      RolloutPlan plan = plan(prompts);
      try (Optimization optimization =
          new Optimization(
              run.torch(),
              networks.policy().trained(),
              Optimization.settings(training),
              LearningRateSchedule.of(training, plan.totalSteps()),
              training.maxGradNorm())) {
        run.begin(
            new TrainingRun.Job(
                optimization,
                folder ->
                    ModelWriter.causalLm(folder, run.start(), networks.policy(), run.savedAs()),
                plan.totalSteps(),
                TrainingRun.DataUsed.of(prompts.data(), held == null ? null : held.data()),
                false));
        GroupState state = GroupState.of(run.kept(), run.checkpoint(), fixedModels);
        run.keep(state);
        double tolerance = opened.tolerance(run.computeType());
        Invariants invariants =
            new Invariants(networks::referenceFingerprint, run.computeType(), tolerance);
        Parts parts = new Parts(run, networks, rollouts, rewards, invariants, prompts, held);
        banner(parts, plan, opened.name());
        int longest = rolling.sampling().maxNewTokens();
        GroupStep step = new GroupStep(run.torch(), networks, optimization, method, longest);
        responses.beforeFailure(() -> rescue(parts, plan, state));
        if (run.evaluatesFirst(Long.MAX_VALUE)) {
          run.evaluation(() -> evaluate(parts, state));
        }
        while (state.rollout() < plan.rollouts() && run.goesOn()) {
          try (GroupTrunk trunk = trunk(parts, state)) {
            if (!state.isRolledOut()) {
              rollOut(parts, trunk, plan, state);
            }
            update(parts, step, trunk, plan, state);
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
  private void rescue(Parts parts, RolloutPlan plan, GroupState state) {
    TrainingRun run = parts.run();
    if (run.step() > 0 && !run.isSaved()) {
      run.save(epoch(parts.prompts(), plan, state));
      run.console()
          .line(
              "the reward failed; a checkpoint of step %d was saved, resume_from_checkpoint auto goes on from it"
                  .formatted(run.step()));
    }
  }

  private GroupNetworks networks(TrainingRun run) {
    // What is frozen comes from where the run began, also where it goes on from a checkpoint.
    return GroupNetworks.load(
        run.torch(),
        ModelFolder.open(Path.of(training.modelNameOrPath())),
        new GroupNetworks.Options(
            run.computeType(),
            run.trainable().lora(),
            training.seed(),
            group.numLayersUnfrozen(),
            group.beta() > 0,
            rolling.sampling().temperature(),
            training.activationCheckpointing() ? Recording.PER_BLOCK : Recording.FULL));
  }

  private FixedModels fixedModels(String rewardIdentity) {
    return FixedModels.startingFrom(Path.of(training.modelNameOrPath())).withReward(rewardIdentity);
  }

  /** Looks at what a run would read, without loading weights or writing anything. */
  public void check(Checks checks) {
    int unfrozen = group.numLayersUnfrozen();
    try (RunCheck run =
        new RunCheck(
            method.name(),
            keys.all(),
            training,
            (folder, lora) -> ModelLoader.checkHydra(folder, lora, unfrozen),
            checks)) {
      Generator.check(run, rolling.sampling());
      int newTokens = rolling.sampling().maxNewTokens();
      OnlinePrompts prompts =
          run.prompts(newTokens, (encoder, paths) -> load(encoder, paths), OnlinePrompts::data);
      int answered = prompts == null ? 0 : prompts.longestAnswered();
      RewardSourceConfig source = rolling.rewardSource();
      OpenReward.check(run, source, reward, Math.max(run.longestRow(), answered));
      run.fixedModels(() -> fixedModels(OpenReward.identity(source)));
    }
  }

  private OnlinePrompts load(TrainingRun run, GroupNetworks networks, List<Path> paths) {
    int newTokens = rolling.sampling().maxNewTokens();
    return load(run.promptEncoder(networks.policy().decoder().spec(), newTokens), paths);
  }

  private OnlinePrompts load(RowEncoder encoder, List<Path> paths) {
    return OnlinePrompts.load(paths, encoder, training, rolling.deltaReward(), context.stop());
  }

  private RolloutPlan plan(OnlinePrompts prompts) {
    Long episodes = rolling.totalEpisodes();
    return RolloutPlan.of(
        new PromptSchedule(
            prompts.data().size(),
            rolling.rolloutBatchSize(),
            training.seed(),
            training.shuffleDataset()),
        episodes == null ? null : episodes / group.numGenerations(),
        training,
        groups -> passes(groups, 0).totalSteps(),
        context.console());
  }

  /** The passes over the groups of a roll-out, each roll-out in orders of its own. */
  private BatchPlan passes(int groups, int rollout) {
    long order = CounterRandom.bits(training.seed(), RandomStream.DATA_ORDER, rollout, 1, 0);
    return BatchPlan.of(
        groups,
        new BatchPlan.Size(group.stepSize(rolling) / group.numGenerations(), 1),
        group.numIterations(),
        -1,
        new BatchPlan.Order(order, training.shuffleDataset()));
  }

  private BatchPlan passes(GroupState state) {
    return passes(state.samples().size() / group.numGenerations(), state.rollout());
  }

  /** Passes over the prompts so far. */
  private double epoch(OnlinePrompts prompts, RolloutPlan plan, GroupState state) {
    double groups = plan.before(state.rollout());
    if (state.isRolledOut()) {
      double done = (double) state.step() / passes(state).totalSteps();
      groups += done * state.samples().size() / group.numGenerations();
    }
    return groups / prompts.data().size();
  }

  private void banner(Parts parts, RolloutPlan plan, String rewardName) {
    TrainingRun run = parts.run();
    GroupNetworks networks = parts.networks();
    NetworkTable table = networks.table();
    int perRollout = plan.schedule().size() * group.numGenerations();
    RunBanner banner =
        RunBanner.of(run, method.title(), table.size(), networks.policy().decoder().spec())
            .data("prompts", parts.prompts().data())
            .note(
                "roll-outs",
                "%d, each %s prompts × %d responses, %s in steps of %s, %d side by side; %s steps"
                    .formatted(
                        plan.rollouts(),
                        Format.count(plan.schedule().size()),
                        group.numGenerations(),
                        group.numIterations() == 1 ? "once" : group.numIterations() + " times",
                        Format.count(Math.min(perRollout, group.stepSize(rolling))),
                        Math.min(perRollout, training.perDeviceTrainBatchSize()),
                        Format.count(plan.totalSteps())))
            .note("reward", rewardName);
    if (parts.held() != null) {
      banner.data("eval", parts.held().data());
    }
    banner.show();
    table.show(run.console());
  }

  /** Whether the policy's log-probabilities are measured after sampling. */
  private boolean measuresPolicy() {
    return method.comparesLogProbs() || !group.isOnPolicy(rolling);
  }

  /** Whether what a roll-out is measured with is kept; else the first step computes it. */
  private boolean keepsTrunk(Parts parts) {
    return measuresPolicy() || parts.networks().hasReference();
  }

  private GroupParts cut(GroupState state) {
    return GroupParts.of(
        state.samples().stream().map(GroupSample::row).toList(),
        group.numGenerations(),
        training.perDeviceTrainBatchSize());
  }

  /** The trunk states of the roll-out under way, those that were there before made again. */
  private GroupTrunk trunk(Parts parts, GroupState state) {
    if (!group.cacheTrunk()) {
      return null;
    }
    GroupTrunk trunk = new GroupTrunk(parts.run().torch());
    if (state.isRolledOut() && keepsTrunk(parts)) {
      trunk.fill(parts.networks(), cut(state), rolling.generationBatchSize());
    }
    return trunk;
  }

  /** Draws and measures the next roll-out, and makes of it what is learned from. */
  private void rollOut(Parts parts, GroupTrunk trunk, RolloutPlan plan, GroupState state) {
    TrainingRun run = parts.run();
    Responses.Draw draw =
        new Responses.Draw(
            plan.phase(state.rollout()),
            plan.pick(state.rollout(), parts.prompts().data().rows()),
            parts.prompts().answers(),
            state.rollout());
    boolean checks = rolling.checkInvariants() && run.step() == 0 && state.rollout() == 0;
    GroupRollout rollout =
        parts
            .rollouts()
            .make(
                draw,
                group.numGenerations(),
                measuresPolicy() || checks,
                keepsTrunk(parts) ? trunk : null);
    if (checks) {
      checkFirst(parts, rollout);
    }

    Map<String, Object> figures = new LinkedHashMap<>();
    long groups = plan.before(state.rollout()) + plan.size(state.rollout());
    figures.put(MetricNames.EPISODE, groups * group.numGenerations());
    figures.putAll(rollout.figures());
    addComparison(rollout, figures);
    List<GroupSample> samples = samples(rollout, method.advantages(rollout, figures));
    if (parts.networks().hasReference()) {
      figures.put(MetricNames.REFERENCE_DRIFT, parts.invariants().drift());
    }
    figures.put(MetricNames.TIMING_SAMPLE, rollout.seconds().sampling());
    figures.put(MetricNames.TIMING_SCORE, rollout.seconds().scoring());
    state.rolledOut(samples);
    run.console()
        .line(
            "%s: mean reward %s"
                .formatted(plan.phase(state.rollout()), Format.number(rollout.meanScore())));
    if (parts.held() == null) {
      show(run, plan.phase(state.rollout()), rollout, isLast(run, plan, state));
    }
    run.write(figures);
  }

  /** Whether the run ends with the steps on the roll-out that was just drawn. */
  private boolean isLast(TrainingRun run, RolloutPlan plan, GroupState state) {
    long steps = passes(state).totalSteps();
    return state.rollout() + 1 == plan.rollouts() || run.step() + steps >= plan.totalSteps();
  }

  /** What the first roll-out of a run shows about networks and reward. */
  private static void checkFirst(Parts parts, GroupRollout rollout) {
    Invariants invariants = parts.invariants();
    if (parts.networks().hasReference()) {
      invariants.requireReferenceIsPolicy(rollout.logProbs(), rollout.referenceLogProbs());
    }
    invariants.requireSameSampled(rollout.responses(), rollout.logProbs());
    int shortest = 0;
    int longest = 0;
    for (int i = 1; i < rollout.size(); i++) {
      shortest = rollout.rowLength(i) < rollout.rowLength(shortest) ? i : shortest;
      longest = rollout.rowLength(i) > rollout.rowLength(longest) ? i : longest;
    }
    for (int place : shortest == longest ? List.of(0) : List.of(shortest, longest)) {
      Completion one =
          Responses.completion(
              rollout.prompts().get(place),
              place % rollout.groupSize(),
              rollout.responses().get(place));
      invariants.requireSameReward(
          parts.rewards().of(List.of(one), parts.prompts().answers()).scores()[0],
          rollout.scores()[place]);
      invariants.requireSameAlone(
          rollout.logProbs()[place],
          parts.rollouts().alone(Responses.row(one.promptIds(), one.ids())));
    }
  }

  /** How much the rewards differ. */
  private void addComparison(GroupRollout rollout, Map<String, Object> figures) {
    if (rollout.size() > 1) {
      figures.put(MetricNames.REWARD_STD, Spread.of(rollout.scores()).unbiasedDeviation());
    }
    if (rollout.groupSize() > 1) {
      double[][] rewards = rollout.shaped(rolling.shaping());
      double without = GroupAdvantages.groupsWithoutSpread(rewards);
      figures.put(MetricNames.FRAC_REWARD_ZERO_STD, without / rewards.length);
    }
    if (rollout.referenceLogProbs() != null) {
      figures.put(MetricNames.OBJECTIVE_KL_COEF, group.beta());
    }
  }

  private List<GroupSample> samples(GroupRollout rollout, double[][] advantages) {
    Lengths.require("advantages", advantages.length, rollout.size());
    List<GroupSample> samples = new ArrayList<>();
    for (int i = 0; i < rollout.size(); i++) {
      PromptRow prompt = rollout.prompts().get(i);
      samples.add(
          new GroupSample(
              prompt.index(),
              prompt.ids(),
              rollout.responses().get(i).tokenIds(),
              group.isOnPolicy(rolling) ? null : rollout.logProbs()[i],
              rollout.referenceLogProbs() == null ? null : rollout.referenceLogProbs()[i],
              advantages[i]));
    }
    return samples;
  }

  private static void show(TrainingRun run, String title, GroupRollout rollout, boolean shown) {
    if (shown) {
      run.console()
          .samples(
              "%s: mean reward %s".formatted(title, Format.number(rollout.meanScore())),
              rollout.samples(SAMPLES_STORED));
    }
    SampleLog.write(run.outputDir(), run.step(), rollout.samples(SAMPLES_STORED));
  }

  /** Learns from the roll-out under way, until its last step or until somebody asks to stop. */
  private void update(
      Parts parts, GroupStep step, GroupTrunk trunk, RolloutPlan plan, GroupState state) {
    TrainingRun run = parts.run();
    GroupParts cut = cut(state);
    BatchPlan passes = passes(state);
    int rollout = state.rollout();
    try (Progress progress =
        run.console()
            .progress(plan.phase(state.rollout()) + ": update", passes.totalSteps(), "steps")
            .resumeAt(state.step())) {
      while (state.rollout() == rollout && run.goesOn()) {
        List<Integer> chosen = cut.of(passes.microBatches(state.step()).get(0));
        GroupStep.Work work =
            new GroupStep.Work(
                state.samples(),
                cut,
                cut.batches(chosen, training.perDeviceTrainBatchSize()),
                trunk);
        boolean first = state.step() == 0;
        long begun = System.nanoTime();
        GroupStep.Outcome outcome =
            run.guarded(
                work::lines,
                () ->
                    step.run(
                        work,
                        ratios -> {
                          if (first && rolling.checkInvariants()) {
                            parts.invariants().requireRatioOne(ratios.mean());
                            parts.invariants().requireLogRatiosZero(ratios.largestLog());
                          }
                        }));
        state.stepDone();
        boolean ended = state.step() == passes.totalSteps();
        if (ended) {
          state.rolloutDone();
        }
        Map<String, Double> figures = new LinkedHashMap<>(outcome.figures());
        figures.put(MetricNames.TIMING_UPDATE, (System.nanoTime() - begun) * 1e-9);
        double epoch = epoch(parts.prompts(), plan, state);
        run.finishStep(outcome.update(), outcome.loss(), outcome.tokens(), epoch, figures);
        progress.advance(1);
        progress.number(MetricNames.LOSS, outcome.loss());
        long every = ended ? 1 : Long.MAX_VALUE;
        if (run.evaluates(every)) {
          run.evaluation(() -> evaluate(parts, state));
        }
        run.saveIfDue(epoch, every);
      }
    }
  }

  /** One response to each held-out prompt, drawn as the training responses are. */
  private void evaluate(Parts parts, GroupState state) {
    TrainingRun run = parts.run();
    GroupRollout found =
        parts
            .rollouts()
            .make(
                new Responses.Draw(
                    "held-out", parts.held().data().rows(), parts.held().answers(), HELD_OUT_ROUND),
                1,
                parts.networks().hasReference(),
                null);
    Map<String, Object> figures = new LinkedHashMap<>();
    found.figures().forEach((name, value) -> figures.put(MetricNames.eval(name), value));
    if (parts.networks().hasReference()) {
      figures.put(MetricNames.REFERENCE_DRIFT, parts.invariants().drift());
    }
    show(run, "held-out prompts after step " + run.step(), found, true);
    state.evaluated(run.step());
    run.evaluated(figures, TrainingRun.Score.reward(found.meanScore()));
  }

  /** Evaluates and saves after the last step, where that was not yet done, and writes the model. */
  private void finish(Parts parts, RolloutPlan plan, GroupState state) {
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
