package org.rlhf4j.cli.quickstart;

import java.nio.file.Path;
import java.util.List;
import java.util.stream.LongStream;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.train.RunContext;

/** Experiments in the toy world of the quick start. */
public final class Demo {
  /** Which experiment. */
  public enum Name {
    /** Proxy and gold reward against the distance from the SFT model. */
    OVER_OPTIMISATION("over-optimisation", 12),
    /** Networks of PPO beside each other. */
    PPO_ABLATIONS("ppo-ablations", 4);

    private final String word;
    private final int seeds;

    Name(String word, int seeds) {
      this.word = word;
      this.seeds = seeds;
    }

    @Override
    public String toString() {
      return word;
    }
  }

  /**
   * The keys of {@code demo}. {@link #outputDir()} and {@link #seeds()} are null where none is
   * given.
   */
  public record DemoConfig(
      @Key(
              doc =
                  "over-optimisation: PPO, RAFT and best-of-n against a weak reward model;"
                      + " ppo-ablations: PPO's networks beside each other.")
          Name demo,
      @Key(
              doc =
                  "New or empty folder for models, data and results; none: runs/ and the demo's name,"
                      + " or the next free number beside it.",
              defaultValue = Key.NONE)
          Path outputDir,
      @Key(doc = "The first seed.", defaultValue = "42", atLeast = 0) long seed,
      @Key(
              doc =
                  "How many seeds, two at a time; none: 12 for over-optimisation, 4 for"
                      + " ppo-ablations.",
              defaultValue = Key.NONE,
              atLeast = 2)
          Integer seeds) {}

  private Demo() {}

  /**
   * Runs an experiment.
   *
   * @param commandLine the class whose main method is the command line
   */
  public static void run(DemoConfig config, RunContext context, Class<?> commandLine) {
    Path folder =
        config.outputDir() == null
            ? ToyFolder.free(ToyFolder.RUNS, config.demo().toString())
            : config.outputDir();
    ToyFolder.requireEmpty(folder);
    int count = config.seeds() == null ? config.demo().seeds : config.seeds();
    List<Long> seeds = LongStream.range(config.seed(), config.seed() + count).boxed().toList();
    context.console().line("Everything goes to " + folder);
    switch (config.demo()) {
      case OVER_OPTIMISATION ->
          new OverOptimisation(folder, OverOptimisation.Sizes.standard(), seeds, context).run();
      case PPO_ABLATIONS ->
          new PpoAblations(folder, Recipe.standard(), NetworkCosts.Sizes.standard(), seeds, context)
              .run(commandLine);
    }
  }
}
