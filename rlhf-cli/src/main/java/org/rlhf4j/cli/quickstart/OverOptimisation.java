package org.rlhf4j.cli.quickstart;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.IntToDoubleFunction;
import java.util.function.Supplier;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.rlhf4j.cli.quickstart.OptimisationCurve.Point;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Plot;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.train.Compute;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.reward.ModelReward;

/**
 * What a weak reward model and the judge say of policies further and further from the SFT model:
 * the picture of Gao et al. (2022) in the toy world, for PPO, RAFT and best-of-n.
 */
final class OverOptimisation {
  static final String CSV_FILE = "over-optimisation.csv";
  static final String PNG_FILE = "over-optimisation.png";
  static final String FINDING_FILE = "finding.txt";
  private static final String CHECKPOINT = "checkpoint-";
  private static final Map<String, Object> SAVING =
      Map.of("save_strategy", "epoch", "save_total_limit", 0);

  private final Path folder;
  private final Sizes sizes;
  private final List<Long> seeds;
  private final RunContext context;
  private final Console console;

  /**
   * How much of everything.
   *
   * @param world of each seed; its pairs make the reward model weak
   * @param drawn stories to each request, of which the best of n are taken
   * @param bestOf the n
   * @param evaluateEvery roll-outs or iterations between two policies that are looked at
   */
  record Sizes(Recipe world, int drawn, List<Integer> bestOf, int evaluateEvery) {
    /** Under 15 minutes on two cores for twelve seeds. */
    static Sizes standard() {
      return new Sizes(
          new Recipe(
              880,
              64,
              4,
              new Recipe.Raft(8, 48),
              new Recipe.Ppo(16, 128, 0),
              48,
              4,
              new Recipe.Rates(2e-3, 2e-3, 3e-4, 1e-3, 2, 4)),
          64,
          List.of(1, 2, 4, 8, 16, 32, 64),
          2);
    }
  }

  OverOptimisation(Path folder, Sizes sizes, List<Long> seeds, RunContext context) {
    this.folder = folder;
    this.sizes = sizes;
    this.seeds = seeds;
    this.context = context;
    this.console = context.console();
  }

  /** The three methods, and what each does to find its policies. */
  private enum Method {
    PPO("PPO", Plot.Colour.BLUE, Plot.Colour.PALE_BLUE),
    RAFT("RAFT", Plot.Colour.GREEN, Plot.Colour.PALE_GREEN),
    BEST_OF_N("best-of-n", Plot.Colour.VERMILION, Plot.Colour.PALE_VERMILION);

    private final String said;
    private final Plot.Colour colour;
    private final Plot.Colour pale;

    Method(String said, Plot.Colour colour, Plot.Colour pale) {
      this.said = said;
      this.colour = colour;
      this.pale = pale;
    }
  }

  /** Runs all of it; where somebody asks to stop, nothing is left but the trainings so far. */
  void run() {
    List<Supplier<List<List<Point>>>> work = new ArrayList<>();
    for (long seed : seeds) {
      work.add(() -> points(seed));
    }
    List<List<List<Point>>> found = SideBySide.run(work, context.stop());
    if (!context.stop().requested()) {
      report(
          Arrays.stream(Method.values())
              .map(
                  method ->
                      new OptimisationCurve(
                          method.said,
                          found.stream().map(methods -> methods.get(method.ordinal())).toList()))
              .toList());
    }
  }

  /** The points of each method; none where somebody asked to stop. */
  private List<List<Point>> points(long seed) {
    Path own = folder.resolve("seed-" + seed);
    Stages stages = new Stages(own, sizes.world(), seed, context, "seed " + seed + ", ");
    try (Compute compute = Compute.open("cpu", DtypeChoice.FP32)) {
      if (!train(compute, stages)) {
        return List.of();
      }
      try (Looking looking = new Looking(compute, stages, own, seed)) {
        return Arrays.stream(Method.values()).map(looking::at).toList();
      }
    }
  }

  /** Trains everything. False where somebody asked to stop. */
  private boolean train(Compute compute, Stages stages) {
    return done(() -> stages.writeDemonstrations(compute))
        && done(stages::trainSft)
        && done(() -> stages.writePairs(compute))
        && done(stages::trainReward)
        && done(stages.data()::writePrompts)
        && done(() -> stages.raft(stages.commands().raft().with(SAVING), Stages.RAFT))
        && done(() -> stages.ppo("PPO", stages.commands().ppo().with(SAVING), Stages.PPO));
  }

  private boolean done(Runnable part) {
    part.run();
    return !context.stop().requested();
  }

  private record Spread(double mean, double deviation) {
    static Spread of(List<double[]> values) {
      double[] all = values.stream().flatMapToDouble(Arrays::stream).toArray();
      double mean = Arrays.stream(all).average().orElseThrow();
      double squares = Arrays.stream(all).map(value -> (value - mean) * (value - mean)).sum();
      return new Spread(mean, Math.sqrt(squares / all.length));
    }

    double gain(double value) {
      return deviation > 0 ? (value - mean) / deviation : 0;
    }
  }

  /** Looks at the policies of a toy world beside the SFT model's own stories. */
  private final class Looking implements AutoCloseable {
    private final Compute compute;
    private final Stages stages;
    private final Path folder;
    private final long seed;
    private final Storyteller sft;
    private final ModelReward reward;
    private final List<double[]> proxies;
    private final List<double[]> golds;

    Looking(Compute compute, Stages stages, Path folder, long seed) {
      this.compute = compute;
      this.stages = stages;
      this.folder = folder;
      this.seed = seed;
      this.sft = stages.storyteller(compute, Stages.SFT);
      this.reward = stages.rewardModel(compute);
      Evaluation stories = stories(sft, sizes.drawn(), "best of n");
      this.proxies = stories.proxies(reward);
      this.golds = stories.golds();
    }

    private Evaluation stories(Storyteller model, int samples, String phase) {
      List<Request> requests = stages.data().compared();
      try (Progress progress = stages.progress(phase, requests.size(), "requests")) {
        return Evaluation.of(model, requests, samples, seed, progress::advance);
      }
    }

    private Point point(int effort, double kl, double proxy, double gold) {
      return new Point(
          effort,
          kl,
          proxy,
          gold,
          new OptimisationCurve.Gains(Spread.of(proxies).gain(proxy), Spread.of(golds).gain(gold)));
    }

    List<Point> at(Method method) {
      if (method == Method.BEST_OF_N) {
        return sizes.bestOf().stream()
            .map(
                n ->
                    point(
                        n,
                        BestOfN.kl(n),
                        BestOfN.expected(proxies, proxies, n),
                        BestOfN.expected(proxies, golds, n)))
            .toList();
      }
      List<Point> points = new ArrayList<>();
      points.add(point(0, 0, Spread.of(proxies).mean(), Spread.of(golds).mean()));
      List<Path> saved =
          checkpoints(folder.resolve(method == Method.PPO ? Stages.PPO : Stages.RAFT));
      int every = sizes.evaluateEvery();
      for (int effort = every; effort <= saved.size(); effort += every) {
        try (Storyteller policy = Storyteller.open(compute, saved.get(effort - 1))) {
          Evaluation stories =
              stories(
                  policy,
                  sizes.world().evaluationSamples(),
                  "%s, %d".formatted(method.said, effort));
          points.add(
              point(effort, stories.kl(sft), stories.proxy(reward), stories.gold().reward()));
        }
      }
      return points;
    }

    @Override
    public void close() {
      sft.close();
      reward.close();
    }
  }

  /** The checkpoints of a run, first one first. */
  private static List<Path> checkpoints(Path run) {
    try (Stream<Path> entries = Files.list(run)) {
      return entries
          .filter(path -> path.getFileName().toString().startsWith(CHECKPOINT))
          .sorted(
              Comparator.comparingInt(
                  path ->
                      Integer.parseInt(
                          path.getFileName().toString().substring(CHECKPOINT.length()))))
          .toList();
    } catch (IOException e) {
      throw RlhfException.environment(run + ": cannot be read: " + e.getMessage(), e);
    }
  }

  private void report(List<OptimisationCurve> curves) {
    write(CSV_FILE, csv(curves));
    Plot.write(
        folder.resolve(PNG_FILE),
        "Proxy and gold reward against the distance from SFT",
        List.of(panel(curves)),
        console);
    String finding = OptimisationCurve.finding(curves);
    write(FINDING_FILE, finding + "\n");
    table(curves);
    console.line("");
    console.line(finding);
    console.line("");
    console.line("Picture    " + folder.resolve(PNG_FILE));
    console.line("Data       " + folder.resolve(CSV_FILE));
  }

  private void write(String file, String text) {
    AtomicFiles.write(folder.resolve(file), text.getBytes(StandardCharsets.UTF_8));
  }

  private String csv(List<OptimisationCurve> curves) {
    StringBuilder csv =
        new StringBuilder("method,seed,effort,kl,sqrt_kl,proxy,gold,proxy_gain,gold_gain\n");
    for (OptimisationCurve curve : curves) {
      for (int run = 0; run < seeds.size(); run++) {
        for (Point point : curve.runs().get(run)) {
          csv.append(
              "%s,%d,%d,%s,%s,%s,%s,%s,%s%n"
                  .formatted(
                      curve.method(),
                      seeds.get(run),
                      point.effort(),
                      point.kl(),
                      point.rootKl(),
                      point.proxy(),
                      point.gold(),
                      point.gains().proxy(),
                      point.gains().gold()));
        }
      }
    }
    return csv.toString();
  }

  private Plot.Panel panel(List<OptimisationCurve> curves) {
    List<Plot.Line> lines = new ArrayList<>();
    for (Method method : Method.values()) {
      OptimisationCurve curve = curves.get(method.ordinal());
      for (int run = 0; run < seeds.size(); run++) {
        List<Point> points = curve.runs().get(run);
        lines.add(
            new Plot.Line(
                " %s, seed %d".formatted(method.said, seeds.get(run)),
                method.pale,
                false,
                column(points, Point::rootKl),
                column(points, point -> point.gains().gold())));
      }
    }
    for (Method method : Method.values()) {
      OptimisationCurve curve = curves.get(method.ordinal());
      double[] x = column(curve, curve::rootKl);
      lines.add(
          new Plot.Line(
              method.said + ": proxy", method.colour, true, x, column(curve, curve::proxyGain)));
      lines.add(
          new Plot.Line(
              method.said + ": gold", method.colour, false, x, column(curve, curve::goldGain)));
    }
    return new Plot.Panel(
        "Means of %d seeds; thin: gold, each seed".formatted(seeds.size()),
        "√KL (KL in nats per story)",
        "gain over SFT, in standard deviations of its stories",
        false,
        lines);
  }

  private static double[] column(List<Point> points, ToDoubleFunction<Point> value) {
    return points.stream().mapToDouble(value).toArray();
  }

  private static double[] column(OptimisationCurve curve, IntToDoubleFunction value) {
    return IntStream.range(0, curve.length()).mapToDouble(value).toArray();
  }

  private void table(List<OptimisationCurve> curves) {
    List<List<String>> rows = new ArrayList<>();
    for (OptimisationCurve curve : curves) {
      for (int place = 0; place < curve.length(); place++) {
        rows.add(
            List.of(
                curve.method(),
                Integer.toString(curve.runs().get(0).get(place).effort()),
                fixed("%.1f", curve.kl(place)),
                fixed("%+.2f", curve.proxyGain(place)),
                fixed("%+.2f", curve.goldGain(place))));
      }
    }
    console.table(
        "Gains over SFT in standard deviations of its stories, means of %d seeds"
            .formatted(seeds.size()),
        List.of("method", "n, iteration or roll-out", "KL", "proxy", "gold"),
        rows);
  }

  private static String fixed(String format, double value) {
    return String.format(Locale.ROOT, format, value);
  }
}
