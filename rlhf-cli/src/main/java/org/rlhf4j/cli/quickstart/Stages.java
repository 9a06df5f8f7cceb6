package org.rlhf4j.cli.quickstart;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.IntConsumer;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.train.Compute;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.PpoConfig;
import org.rlhf4j.ppo.PpoTrainer;
import org.rlhf4j.raft.RaftConfig;
import org.rlhf4j.raft.RaftTrainer;
import org.rlhf4j.reward.ModelReward;
import org.rlhf4j.reward.RewardConfig;
import org.rlhf4j.reward.RewardTrainer;
import org.rlhf4j.sft.SftConfig;
import org.rlhf4j.sft.SftTrainer;

/**
 * The stages of a toy world, one method each: they write their data and train with the same classes
 * as the verbs. A stage's model is left in the folder of its name.
 */
final class Stages {
  static final String BASE = "base";
  static final String SFT = "sft";
  static final String REWARD = "reward";
  static final String RAFT = "raft";
  static final String PPO = "ppo";
  private static final int TEXTS_SCORED = 64;

  private final Path folder;
  private final Recipe recipe;
  private final RunContext context;
  private final String label;
  private final ToyData data;
  private final StageCommands commands;

  /** The stages of a toy world that lives in a folder. */
  Stages(Path folder, Recipe recipe, long seed, RunContext context) {
    this(folder, recipe, seed, context, "");
  }

  /**
   * The stages of one of several toy worlds.
   *
   * @param label what its phases are called by on the screen
   */
  Stages(Path folder, Recipe recipe, long seed, RunContext context, String label) {
    this.folder = folder;
    this.recipe = recipe;
    this.context = context;
    this.label = label;
    this.data = new ToyData(folder, recipe, seed);
    this.commands = StageCommands.of(folder, recipe, seed);
  }

  ToyData data() {
    return data;
  }

  StageCommands commands() {
    return commands;
  }

  /** The model of a stage, the caller's to close. */
  Storyteller storyteller(Compute compute, String stage) {
    return Storyteller.open(compute, folder.resolve(stage));
  }

  /** The reward model, the caller's to close. */
  ModelReward rewardModel(Compute compute) {
    return ModelReward.open(compute.torch(), folder.resolve(REWARD), compute.type(), TEXTS_SCORED);
  }

  /** Unpacks the pretrained model, and lets it write the stories that SFT learns from. */
  void writeDemonstrations(Compute compute) {
    StartModel.unpack(folder.resolve(BASE));
    int stories = recipe.demonstrations() + data.heldOut().size();
    try (Storyteller base = storyteller(compute, BASE);
        Progress progress = progress("demonstrations", stories, "stories")) {
      data.writeDemonstrations(base, progress::advance);
    }
  }

  void trainSft() {
    long steps = steps(recipe.demonstrations(), recipe.rates().sftEpochs());
    SftConfig config = commands.sft().config(SftConfig.class, folder.resolve(SFT));
    train("SFT", steps, quiet -> new SftTrainer(config, quiet).train());
  }

  void writePairs(Compute compute) {
    int requests = recipe.pairRequests() + data.heldOut().size();
    try (Storyteller sft = storyteller(compute, SFT);
        Progress progress = progress("pairs", requests, "requests")) {
      data.writePairs(sft, progress::advance);
    }
  }

  /** Trains the reward model; its accuracy on held-out pairs, NaN where somebody asked to stop. */
  double trainReward() {
    long steps = steps(data.pairCount(), recipe.rates().rewardEpochs());
    RewardConfig config = commands.reward().config(RewardConfig.class, folder.resolve(REWARD));
    double accuracy = Double.NaN;
    for (Map<String, Object> row :
        train("reward model", steps, quiet -> new RewardTrainer(config, quiet).train())) {
      if (row.get(MetricNames.eval(MetricNames.ACCURACY)) instanceof Double found) {
        accuracy = found;
      }
    }
    return accuracy;
  }

  void trainRaft() {
    data.writePrompts();
    raft(commands.raft(), RAFT);
  }

  /** RAFT by a command of its own, once the prompts are written. */
  void raft(StageCommand command, String output) {
    RaftConfig config = command.config(RaftConfig.class, folder.resolve(output));
    long perIteration = steps(config.promptsPerIteration(), config.epochsPerIteration());
    train(
        "RAFT",
        config.numRaftIterations() * perIteration,
        quiet -> new RaftTrainer(config, quiet).train());
  }

  void trainPpo() {
    data.writePrompts();
    ppo("PPO", commands.ppo(), PPO);
  }

  /** PPO by a command of its own, once the prompts are written. */
  void ppo(String phase, StageCommand command, String output) {
    PpoConfig config = command.config(PpoConfig.class, folder.resolve(output));
    Recipe.Ppo ppo = recipe.ppo();
    int perEpoch =
        (ppo.samples() + StageCommands.PPO_BATCH_SIZE - 1) / StageCommands.PPO_BATCH_SIZE;
    train(
        phase,
        (long) ppo.rollouts() * StageCommands.PPO_EPOCHS * perEpoch,
        quiet -> new PpoTrainer(config, quiet).train());
  }

  /** The caller closes it. */
  Progress progress(String phase, long total, String unit) {
    return context.console().progress(label + phase, total, unit);
  }

  private static long steps(int rows, double epochs) {
    int perEpoch = (rows + StageCommands.BATCH_SIZE - 1) / StageCommands.BATCH_SIZE;
    return (long) Math.ceil(epochs * perEpoch);
  }

  /** Trains without the banner and tables that the verb would show, but for a progress bar. */
  private List<Map<String, Object>> train(
      String phase, long steps, Function<RunContext, List<Map<String, Object>>> trainer) {
    try (Progress progress = progress(phase, steps, "steps")) {
      IntConsumer reached = upTo(progress);
      RunContext quiet =
          new RunContext(
              Console.silent(),
              context.stop(),
              row -> {
                if (row.get(MetricNames.STEP) instanceof Number step) {
                  reached.accept(step.intValue());
                }
                show(progress, row, MetricNames.LOSS, MetricNames.LOSS);
                show(progress, row, MetricNames.REWARD_ALL_MEAN, REWARD);
                show(progress, row, MetricNames.OBJECTIVE_SCORES, REWARD);
              },
              context.command());
      return trainer.apply(quiet);
    }
  }

  private static void show(Progress progress, Map<String, Object> row, String metric, String name) {
    if (row.get(metric) instanceof Double value) {
      progress.number(name, value);
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
}
