package org.rlhf4j.cli.quickstart;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.train.Compute;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.reward.ModelReward;

/**
 * A whole alignment run on a toy world whose true reward is known: supervised fine-tuning, a reward
 * model, RAFT, PPO, and a comparison. It trains with the same classes as the verbs, and leaves the
 * data of each stage beside the commands that repeat it.
 */
public final class QuickStart {
  private static final String DEFAULT_NAME = "quickstart";
  private static final List<String> COMPARED =
      List.of(Stages.BASE, Stages.SFT, Stages.RAFT, Stages.PPO);

  private final Recipe recipe;
  private final RunContext context;
  private final Console console;
  private final long seed;
  private final Path folder;
  private final Stages stages;

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
    this.folder =
        config.outputDir() == null
            ? ToyFolder.free(ToyFolder.RUNS, DEFAULT_NAME)
            : config.outputDir();
    this.stages = new Stages(folder, recipe, seed, context);
  }

  /**
   * Runs all stages. Where somebody asks to stop, the training under way leaves its checkpoint and
   * nothing follows it.
   *
   * @throws org.rlhf4j.core.RlhfException if the folder is not empty or cannot be written
   */
  public void run() {
    ToyFolder.requireEmpty(folder);
    console.line("Quick start, seed " + seed + ". Everything goes to " + folder);
    try (Compute compute = Compute.open("cpu", DtypeChoice.FP32)) {
      boolean trained =
          timed(Stages.BASE, () -> stages.writeDemonstrations(compute))
              && timed(Stages.SFT, stages::trainSft)
              && timed(Stages.REWARD, () -> stages.writePairs(compute))
              && timed(Stages.REWARD, () -> rewardModelAccuracy = stages.trainReward())
              && timed(Stages.RAFT, stages::trainRaft)
              && timed(Stages.PPO, stages::trainPpo);
      if (trained) {
        stages.commands().write(compute.torch());
        compare(compute);
      }
    }
  }

  /** Does a part of a stage. False where somebody asked to stop. */
  private boolean timed(String stage, Runnable part) {
    long start = System.nanoTime();
    part.run();
    seconds.merge(stage, (System.nanoTime() - start) / 1e9, Double::sum);
    return !context.stop().requested();
  }

  /** Lets the models answer the same held-out requests, and shows how they did. */
  private void compare(Compute compute) {
    List<Request> requests = stages.data().compared();
    Map<String, Evaluation> evaluations = new LinkedHashMap<>();
    List<StageResult> results = new ArrayList<>();
    try (Storyteller base = stages.storyteller(compute, Stages.BASE);
        Storyteller sft = stages.storyteller(compute, Stages.SFT);
        Storyteller raft = stages.storyteller(compute, Stages.RAFT);
        Storyteller ppo = stages.storyteller(compute, Stages.PPO);
        ModelReward reward = stages.rewardModel(compute)) {
      List<Storyteller> models = List.of(base, sft, raft, ppo);
      try (Progress progress =
          console.progress("compare", (long) models.size() * requests.size(), "requests")) {
        for (int i = 0; i < models.size(); i++) {
          Storyteller model = models.get(i);
          String stage = COMPARED.get(i);
          timed(
              stage,
              () ->
                  evaluations.put(
                      stage,
                      Evaluation.of(
                          model, requests, recipe.evaluationSamples(), seed, progress::advance)));
        }
      }
      evaluations.forEach(
          (stage, evaluation) -> {
            long start = System.nanoTime();
            // Nothing wins against itself, and the base model did not start from SFT.
            StageResult.Figures figures =
                new StageResult.Figures(
                    evaluation.loss(stages.data().file(ToyData.SFT_EVAL)),
                    evaluation.proxy(reward),
                    stage.equals(Stages.SFT)
                        ? null
                        : evaluation.winRate(evaluations.get(Stages.SFT)),
                    stage.equals(Stages.BASE) ? null : evaluation.kl(sft),
                    evaluation.distinct2(),
                    evaluation.meanLength());
            seconds.merge(stage, (System.nanoTime() - start) / 1e9, Double::sum);
            results.add(new StageResult(stage, evaluation.gold(), figures, seconds.get(stage)));
          });
    }
    Results all = new Results(seed, rewardModelAccuracy, seconds.get(Stages.REWARD), results);
    all.write(folder);
    new QuickStartReport(console, folder).show(all, evaluations);
  }
}
