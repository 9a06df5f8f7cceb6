package org.rlhf4j.cli.quickstart;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.IntConsumer;
import java.util.stream.Stream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.train.Compute;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.raft.RaftConfig;
import org.rlhf4j.raft.RaftTrainer;
import org.rlhf4j.reward.ModelReward;
import org.rlhf4j.reward.RewardConfig;
import org.rlhf4j.reward.RewardTrainer;
import org.rlhf4j.sft.SftConfig;
import org.rlhf4j.sft.SftTrainer;

/**
 * A whole alignment run on a toy world whose true reward is known: supervised fine-tuning, a reward
 * model, RAFT, and a comparison. It trains with the same classes as the verbs, and leaves the data
 * of each stage beside the commands that repeat it.
 */
public final class QuickStart {
  private static final Path RUNS = Path.of("runs");
  private static final String DEFAULT_NAME = "quickstart";
  private static final String BASE = "base";
  private static final String SFT = "sft";
  private static final String REWARD = "reward";
  private static final String RAFT = "raft";
  private static final int TEXTS_SCORED = 64;

  private final Recipe recipe;
  private final RunContext context;
  private final Console console;
  private final long seed;
  private final Path folder;
  private final ToyData data;
  private final StageCommands commands;

  /** Wall-clock seconds of each stage so far. */
  private final Map<String, Double> seconds = new LinkedHashMap<>();

  private double rewardModelAccuracy;

  /** The quick start as the command line runs it. */
  public QuickStart(QuickStartConfig config, RunContext context) {
    this(config, Recipe.standard(), context);
  }

  QuickStart(QuickStartConfig config, Recipe recipe, RunContext context) {
    this.recipe = recipe;
    this.context = context;
    this.console = context.console();
    this.seed = config.seed();
    this.folder = config.outputDir() == null ? freeFolder(RUNS) : config.outputDir();
    this.data = new ToyData(folder, recipe, seed);
    this.commands = StageCommands.of(folder, recipe, seed);
  }

  /** {@code quickstart} below a folder, or with the first number that is free. */
  static Path freeFolder(Path runs) {
    Path free = runs.resolve(DEFAULT_NAME);
    for (int number = 2; Files.exists(free); number++) {
      free = runs.resolve(DEFAULT_NAME + "-" + number);
    }
    return free;
  }

  /**
   * Runs all stages. Where somebody asks to stop, the training under way leaves its checkpoint and
   * nothing follows it.
   *
   * @throws RlhfException if the folder is not empty or cannot be written
   */
  public void run() {
    requireEmpty();
    console.line("Quick start, seed " + seed + ". Everything goes to " + folder);
    StartModel.unpack(folder.resolve(BASE));
    try (Compute compute = Compute.open("cpu", DtypeChoice.FP32)) {
      boolean trained =
          timed(BASE, () -> writeDemonstrations(compute))
              && timed(SFT, this::trainSft)
              && timed(REWARD, () -> writePairs(compute))
              && timed(REWARD, this::trainReward)
              && timed(RAFT, this::trainRaft);
      if (trained) {
        commands.write(compute.torch().threads());
        compare(compute);
      }
    }
  }

  private void requireEmpty() {
    if (!Files.isDirectory(folder)) {
      return;
    }
    try (Stream<Path> entries = Files.list(folder)) {
      if (entries.findAny().isPresent()) {
        throw RlhfException.config(
            "output_dir: " + folder + " is not empty; the quick start needs a folder of its own");
      }
    } catch (IOException e) {
      throw RlhfException.environment(folder + ": cannot be read: " + e.getMessage(), e);
    }
  }

  /** Does a part of a stage. False where somebody asked to stop. */
  private boolean timed(String stage, Runnable part) {
    long start = System.nanoTime();
    part.run();
    seconds.merge(stage, (System.nanoTime() - start) / 1e9, Double::sum);
    return !context.stop().requested();
  }

  private void writeDemonstrations(Compute compute) {
    int stories = recipe.demonstrations() + data.heldOut().size();
    try (Storyteller base = storyteller(compute, BASE);
        Progress progress = console.progress("demonstrations", stories, "stories")) {
      data.writeDemonstrations(base, progress::advance);
    }
  }

  private void trainSft() {
    long steps = steps(recipe.demonstrations(), recipe.rates().sftEpochs());
    SftConfig config = commands.sft().config(SftConfig.class, folder);
    train("SFT", steps, quiet -> new SftTrainer(config, quiet).train());
  }

  private void writePairs(Compute compute) {
    int requests = recipe.pairRequests() + data.heldOut().size();
    try (Storyteller sft = storyteller(compute, SFT);
        Progress progress = console.progress("pairs", requests, "requests")) {
      data.writePairs(sft, progress::advance);
    }
  }

  private void trainReward() {
    long steps = steps(data.pairCount(), recipe.rates().rewardEpochs());
    RewardConfig config = commands.reward().config(RewardConfig.class, folder);
    for (Map<String, Object> row :
        train("reward model", steps, quiet -> new RewardTrainer(config, quiet).train())) {
      if (row.get(MetricNames.eval(MetricNames.ACCURACY)) instanceof Double accuracy) {
        rewardModelAccuracy = accuracy;
      }
    }
  }

  private void trainRaft() {
    data.writePrompts();
    long perIteration = steps(recipe.raft().prompts(), StageCommands.EPOCHS_PER_ITERATION);
    RaftConfig config = commands.raft().config(RaftConfig.class, folder);
    train(
        "RAFT",
        recipe.raft().iterations() * perIteration,
        quiet -> new RaftTrainer(config, quiet).train());
  }

  private static long steps(int rows, double epochs) {
    int perEpoch = (rows + StageCommands.BATCH_SIZE - 1) / StageCommands.BATCH_SIZE;
    return (long) Math.ceil(epochs * perEpoch);
  }

  /** Trains without the banner and tables that the verb would show, but for a progress bar. */
  private List<Map<String, Object>> train(
      String phase, long steps, Function<RunContext, List<Map<String, Object>>> trainer) {
    try (Progress progress = console.progress(phase, steps, "steps")) {
      IntConsumer reached = upTo(progress);
      RunContext quiet =
          new RunContext(
              Console.silent(),
              context.stop(),
              row -> {
                if (row.get(MetricNames.STEP) instanceof Number step) {
                  reached.accept(step.intValue());
                }
                if (row.get(MetricNames.LOSS) instanceof Double loss) {
                  progress.number(MetricNames.LOSS, loss);
                }
                if (row.get(MetricNames.REWARD_ALL_MEAN) instanceof Double reward) {
                  progress.number("reward", reward);
                }
              },
              context.command());
      return trainer.apply(quiet);
    }
  }

  /** Tells a progress bar how far it is, where it wants to hear how much was added. */
  private static IntConsumer upTo(Progress progress) {
    int[] reached = new int[1];
    return now -> {
      progress.advance(now - reached[0]);
      reached[0] = now;
    };
  }

  private Storyteller storyteller(Compute compute, String stage) {
    return Storyteller.open(compute, folder.resolve(stage));
  }

  /** Lets the three models answer the same held-out requests, and shows how they did. */
  private void compare(Compute compute) {
    Map<String, Evaluation> evaluations = new LinkedHashMap<>();
    List<StageResult> results = new ArrayList<>();
    try (Storyteller base = storyteller(compute, BASE);
        Storyteller sft = storyteller(compute, SFT);
        Storyteller raft = storyteller(compute, RAFT);
        ModelReward reward =
            ModelReward.open(
                compute.torch(), folder.resolve(REWARD), compute.type(), TEXTS_SCORED)) {
      int requests = data.compared().size();
      try (Progress progress = console.progress("compare", 3L * requests, "requests")) {
        for (Storyteller model : List.of(base, sft, raft)) {
          String stage = model == base ? BASE : model == sft ? SFT : RAFT;
          timed(
              stage,
              () ->
                  evaluations.put(
                      stage,
                      Evaluation.of(
                          model,
                          data.compared(),
                          recipe.evaluationSamples(),
                          seed,
                          progress::advance)));
        }
      }
      evaluations.forEach(
          (stage, evaluation) -> {
            long start = System.nanoTime();
            // Nothing wins against itself, and the base model did not start from SFT.
            StageResult.Figures figures =
                new StageResult.Figures(
                    evaluation.loss(data.file(ToyData.SFT_EVAL)),
                    evaluation.proxy(reward),
                    stage.equals(SFT) ? null : evaluation.winRate(evaluations.get(SFT)),
                    stage.equals(BASE) ? null : evaluation.kl(sft),
                    evaluation.distinct2(),
                    evaluation.meanLength());
            seconds.merge(stage, (System.nanoTime() - start) / 1e9, Double::sum);
            results.add(new StageResult(stage, evaluation.gold(), figures, seconds.get(stage)));
          });
    }
    Results all = new Results(seed, rewardModelAccuracy, seconds.get(REWARD), results);
    all.write(folder);
    new QuickStartReport(console, folder)
        .show(all, new QuickStartReport.Stories(evaluations.get(SFT), evaluations.get(RAFT)));
  }
}
