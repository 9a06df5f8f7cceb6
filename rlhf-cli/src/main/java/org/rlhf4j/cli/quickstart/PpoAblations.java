package org.rlhf4j.cli.quickstart;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;
import org.rlhf4j.cli.quickstart.NetworkCosts.Cost;
import org.rlhf4j.cli.quickstart.NetworkCosts.Seconds;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.train.Compute;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.reward.ModelReward;

/**
 * PPO with other networks: what they learn in the quick start's world, from one SFT and one reward
 * model, and what they cost on a larger model.
 */
final class PpoAblations {
  static final String CSV_FILE = "ppo-ablations.csv";
  static final String COSTS_FILE = "ppo-ablations-costs.csv";

  private final Path folder;
  private final Recipe recipe;
  private final NetworkCosts costs;
  private final List<Long> seeds;
  private final RunContext context;

  PpoAblations(
      Path folder, Recipe recipe, NetworkCosts.Sizes larger, List<Long> seeds, RunContext context) {
    this.folder = folder;
    this.recipe = recipe;
    this.costs = new NetworkCosts(folder, larger, context);
    this.seeds = seeds;
    this.context = context;
  }

  /**
   * What a training came to, on held-out requests.
   *
   * @param gold mean of the judge's reward
   * @param proxy mean score of the reward model
   * @param kl to the SFT model, nats per story
   */
  record Learned(long seed, double gold, double proxy, double kl) {}

  /**
   * Two variants that are held against each other.
   *
   * @param said how the one differs from the other
   */
  private record Comparison(String said, NetworkVariant one, NetworkVariant other) {}

  private static final List<Comparison> COMPARISONS =
      List.of(
          new Comparison(
              "the same 2 layers beside a full reference, not hydra",
              NetworkVariant.APART,
              NetworkVariant.HYDRA),
          // As other libraries train.
          new Comparison(
              "all layers trained beside a full reference, not the upper 2",
              NetworkVariant.FULL,
              NetworkVariant.HYDRA),
          new Comparison(
              "values on the reference, not the policy",
              NetworkVariant.REFERENCE_BRANCH,
              NetworkVariant.POLICY_BRANCH),
          new Comparison("the trunk not cached", NetworkVariant.NOT_CACHED, NetworkVariant.HYDRA));

  /** Runs all of it with the class of the command line; its {@code ppo} is called. */
  void run(Class<?> commandLine) {
    Stages stages = new Stages(folder, recipe, seeds.get(0), context);
    if (!prepare(stages)) {
      return;
    }
    Map<NetworkVariant, List<Learned>> learned = learn(stages);
    if (context.stop().requested()) {
      return;
    }
    Map<NetworkVariant, Cost> measured = costs.measure(commandLine, stages.commands().ppo());
    if (context.stop().requested()) {
      return;
    }
    write(CSV_FILE, csv(learned));
    write(COSTS_FILE, costsCsv(measured));
    Console console = context.console();
    learnedTable(learned);
    costTable(measured);
    comparisonTable(learned, measured);
    console.line(
        "  "
            + sharing(
                learned.get(NetworkVariant.HYDRA),
                learned.get(NetworkVariant.APART),
                measured.get(NetworkVariant.HYDRA),
                measured.get(NetworkVariant.APART)));
    console.line("Data       " + folder.resolve(CSV_FILE));
    console.line("           " + folder.resolve(COSTS_FILE));
  }

  /** Makes what all trainings start from. False where somebody asked to stop. */
  private boolean prepare(Stages stages) {
    try (Compute compute = Compute.open("cpu", DtypeChoice.FP32)) {
      return done(() -> stages.writeDemonstrations(compute))
          && done(stages::trainSft)
          && done(() -> stages.writePairs(compute))
          && done(stages::trainReward)
          && done(stages.data()::writePrompts);
    }
  }

  private boolean done(Runnable part) {
    part.run();
    return !context.stop().requested();
  }

  /** In the order of the seeds; null in the place of what did not begin. */
  private Map<NetworkVariant, List<Learned>> learn(Stages stages) {
    NetworkVariant[] variants = NetworkVariant.values();
    List<Supplier<Learned>> work = new ArrayList<>();
    for (long seed : seeds) {
      for (NetworkVariant variant : variants) {
        work.add(() -> learn(stages, variant, seed));
      }
    }
    List<Learned> found = SideBySide.run(work, context.stop());
    Map<NetworkVariant, List<Learned>> learned = new EnumMap<>(NetworkVariant.class);
    for (int i = 0; i < found.size(); i++) {
      learned
          .computeIfAbsent(variants[i % variants.length], key -> new ArrayList<>())
          .add(found.get(i));
    }
    return learned;
  }

  private Learned learn(Stages stages, NetworkVariant variant, long seed) {
    String output = variant + "-" + seed;
    stages.ppo(output, variant.of(stages.commands().ppo()).with(Map.of("seed", seed)), output);
    if (context.stop().requested()) {
      return null;
    }
    try (Compute compute = Compute.open("cpu", DtypeChoice.FP32);
        Storyteller sft = stages.storyteller(compute, Stages.SFT);
        Storyteller policy = stages.storyteller(compute, output);
        ModelReward reward = stages.rewardModel(compute)) {
      Evaluation stories =
          Evaluation.of(
              policy, stages.data().compared(), recipe.evaluationSamples(), seed, done -> {});
      return new Learned(seed, stories.gold().reward(), stories.proxy(reward), stories.kl(sft));
    }
  }

  private void write(String file, String text) {
    AtomicFiles.write(folder.resolve(file), text.getBytes(StandardCharsets.UTF_8));
  }

  private static String csv(Map<NetworkVariant, List<Learned>> learned) {
    StringBuilder csv = new StringBuilder("variant,seed,gold,proxy,kl\n");
    learned.forEach(
        (variant, runs) ->
            runs.forEach(
                run ->
                    csv.append(
                        "%s,%d,%s,%s,%s%n"
                            .formatted(variant, run.seed(), run.gold(), run.proxy(), run.kl()))));
    return csv.toString();
  }

  private static String costsCsv(Map<NetworkVariant, Cost> measured) {
    StringBuilder csv = new StringBuilder("variant,turn,sample_s,score_s,update_s,peak_rss_mib\n");
    measured.forEach(
        (variant, cost) -> {
          for (int turn = 0; turn < cost.turns().size(); turn++) {
            for (Seconds seconds : cost.turns().get(turn).rollouts()) {
              csv.append(
                  "%s,%d,%s,%s,%s,%s%n"
                      .formatted(
                          variant,
                          turn + 1,
                          seconds.sampling(),
                          seconds.scoring(),
                          seconds.updates(),
                          cost.turns().get(turn).peakMib()));
            }
          }
        });
    return csv.toString();
  }

  private void learnedTable(Map<NetworkVariant, List<Learned>> learned) {
    List<Learned> first = learned.get(NetworkVariant.HYDRA);
    List<List<String>> rows = new ArrayList<>();
    learned.forEach(
        (variant, runs) ->
            rows.add(
                variant == NetworkVariant.HYDRA
                    ? List.of(
                        variant.said(),
                        mean(runs, Learned::gold).said(2),
                        mean(runs, Learned::proxy).said(2),
                        mean(runs, Learned::kl).said(1))
                    : List.of(
                        variant.said(),
                        difference(runs, first, Learned::gold).signed(2),
                        difference(runs, first, Learned::proxy).signed(2),
                        difference(runs, first, Learned::kl).signed(1))));
    context
        .console()
        .table(
            "PPO on held-out requests; from the second row on the difference to the first",
            List.of("networks", "gold", "proxy", "KL"),
            rows);
    context
        .console()
        .line(
            "  means of %d seeds, compared seed by seed, ± standard errors"
                .formatted(seeds.size()));
  }

  private void costTable(Map<NetworkVariant, Cost> measured) {
    List<List<String>> rows = new ArrayList<>();
    measured.forEach(
        (variant, cost) ->
            rows.add(
                List.of(
                    variant.said(),
                    fixed("%.2f", cost.seconds(Seconds::all)),
                    fixed("%.2f", cost.seconds(Seconds::sampling)),
                    fixed("%.2f", cost.seconds(Seconds::scoring)),
                    fixed("%.2f", cost.seconds(Seconds::updates)),
                    fixed("%.0f", cost.peakMib()))));
    context
        .console()
        .table(
            "Seconds of a roll-out of %s, and memory (medians)".formatted(costs.said()),
            List.of("networks", "all", "sampling", "scoring", "updates", "peak RSS MiB"),
            rows);
  }

  private void comparisonTable(
      Map<NetworkVariant, List<Learned>> learned, Map<NetworkVariant, Cost> measured) {
    List<List<String>> rows = new ArrayList<>();
    for (Comparison comparison : COMPARISONS) {
      Estimate gold =
          difference(learned.get(comparison.one()), learned.get(comparison.other()), Learned::gold);
      Cost one = measured.get(comparison.one());
      Cost other = measured.get(comparison.other());
      rows.add(
          List.of(
              comparison.said(),
              fixed("%+.2f", gold.mean()),
              gold.interval(2),
              fixed("%.2f", one.seconds(Seconds::all) / other.seconds(Seconds::all)),
              fixed("%+.0f", one.peakMib() - other.peakMib())));
    }
    context
        .console()
        .table(
            "What a change of networks does",
            List.of("change", "gold", "95 % interval", "times as long", "MiB"),
            rows);
    context
        .console()
        .line(
            "  interval: Student's, over %d seeds; with 0 in it a difference is not shown, nor ruled out"
                .formatted(seeds.size()));
  }

  /** What it does that policy and reference share what is frozen. */
  static String sharing(List<Learned> hydra, List<Learned> apart, Cost ofHydra, Cost ofApart) {
    return "hydra: gold, proxy and KL are at most %s, %s and %s from those of models apart in any seed; %s times as long, %s MiB"
        .formatted(
            Format.number(furthest(hydra, apart, Learned::gold)),
            Format.number(furthest(hydra, apart, Learned::proxy)),
            Format.number(furthest(hydra, apart, Learned::kl)),
            fixed("%.2f", ofHydra.seconds(Seconds::all) / ofApart.seconds(Seconds::all)),
            fixed("%+.0f", ofHydra.peakMib() - ofApart.peakMib()));
  }

  private static double furthest(
      List<Learned> one, List<Learned> other, ToDoubleFunction<Learned> value) {
    return IntStream.range(0, one.size())
        .mapToDouble(
            i -> Math.abs(value.applyAsDouble(one.get(i)) - value.applyAsDouble(other.get(i))))
        .max()
        .orElseThrow();
  }

  private static Estimate mean(List<Learned> runs, ToDoubleFunction<Learned> value) {
    return Estimate.of(runs.stream().mapToDouble(value).toArray());
  }

  /** How much more of a value the one has, as a mean of the differences of each seed. */
  static Estimate difference(
      List<Learned> one, List<Learned> other, ToDoubleFunction<Learned> value) {
    double[] differences = new double[one.size()];
    for (int i = 0; i < differences.length; i++) {
      differences[i] = value.applyAsDouble(one.get(i)) - value.applyAsDouble(other.get(i));
    }
    return Estimate.of(differences);
  }

  private static String fixed(String format, double value) {
    return String.format(Locale.ROOT, format, value);
  }
}
