package org.rlhf4j.cli.quickstart;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.ToDoubleFunction;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.train.Compute;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.reward.ModelReward;

/**
 * PPO of the quick start with other networks: what each is worth, and what it costs. Every training
 * is a process of its own, so that its memory can be told; seeds take turns.
 */
final class PpoAblations {
  static final String CSV_FILE = "ppo-ablations.csv";
  private static final String CPU_SECONDS = "cpu_s";
  private static final int POLL_MILLIS = 200;

  /** The first is what the others differ from. */
  private static final List<Variant> VARIANTS =
      List.of(
          new Variant("hydra", "2 of 5 layers, value on the policy, cached trunk", Map.of()),
          new Variant("full", "all layers, a full reference", Map.of("num_layers_unfrozen", -1)),
          new Variant(
              "reference-value",
              "value branch on the reference",
              Map.of("value_network", "reference_branch", "num_value_layers_unfrozen", 2)),
          new Variant("not-cached", "trunk not cached", Map.of("cache_trunk", false)));

  private final Path folder;
  private final Recipe recipe;
  private final List<Long> seeds;
  private final RunContext context;
  private final Console console;

  /** What the processes have computed for, by the folders of their output. */
  private final Map<Path, Double> cpuSeconds = new LinkedHashMap<>();

  PpoAblations(Path folder, Recipe recipe, List<Long> seeds, RunContext context) {
    this.folder = folder;
    this.recipe = recipe;
    this.seeds = seeds;
    this.context = context;
    this.console = context.console();
  }

  /**
   * One way to set up PPO.
   *
   * @param name also its folder
   * @param said in the table
   * @param keys where it differs
   */
  private record Variant(String name, String said, Map<String, Object> keys) {}

  /** A training of a variant. */
  private record Run(
      String variant, long seed, double gold, double proxy, double kl, Map<String, Double> costs) {}

  /** Runs all of it with the class of the command line; its {@code ppo} is called. */
  void run(Class<?> commandLine) {
    Stages stages = new Stages(folder, recipe, seeds.get(0), context);
    List<Run> runs = new ArrayList<>();
    try (Compute compute = Compute.open("cpu", DtypeChoice.FP32)) {
      boolean prepared =
          done(() -> stages.writeDemonstrations(compute))
              && done(stages::trainSft)
              && done(() -> stages.writePairs(compute))
              && done(stages::trainReward)
              && done(() -> stages.data().writePrompts());
      try (Progress progress =
          console.progress("PPO", (long) seeds.size() * VARIANTS.size(), "trainings")) {
        for (long seed : seeds) {
          for (Variant variant : VARIANTS) {
            Path output = folder.resolve(variant.name() + "-" + seed);
            if (!prepared || !train(commandLine, stages, variant, seed, output)) {
              return;
            }
            progress.advance(1);
          }
        }
      }
      for (long seed : seeds) {
        for (Variant variant : VARIANTS) {
          runs.add(look(compute, stages, variant, seed));
        }
      }
    }
    AtomicFiles.write(folder.resolve(CSV_FILE), csv(runs).getBytes(StandardCharsets.UTF_8));
    table(runs);
  }

  private boolean done(Runnable part) {
    part.run();
    return !context.stop().requested();
  }

  /** Trains in a process of its own. False where somebody asked to stop. */
  private boolean train(
      Class<?> commandLine, Stages stages, Variant variant, long seed, Path output) {
    Map<String, Object> keys =
        new LinkedHashMap<>(stages.commands().ppo().with(variant.keys()).keys());
    keys.putAll(Map.of("seed", seed, "logging_steps", 1, "output_dir", output, "threads", 1));
    List<String> words = new ArrayList<>();
    words.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    words.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
    words.addAll(
        List.of("-cp", System.getProperty("java.class.path"), commandLine.getName(), "ppo"));
    keys.forEach((key, value) -> words.addAll(List.of("--" + key, value.toString())));
    Path log = folder.resolve(output.getFileName() + ".log");
    try {
      Process process =
          new ProcessBuilder(words).redirectErrorStream(true).redirectOutput(log.toFile()).start();
      while (!process.waitFor(POLL_MILLIS, TimeUnit.MILLISECONDS)) {
        if (context.stop().requested()) {
          process.destroy();
        }
        // Other work on the machine does not change it, and it is not told after the end.
        process
            .toHandle()
            .info()
            .totalCpuDuration()
            .ifPresent(cpu -> cpuSeconds.put(output, cpu.toMillis() / 1e3));
      }
      if (context.stop().requested()) {
        return false;
      }
      if (process.exitValue() != ExitCode.DONE.code()) {
        throw RlhfException.environment(
            "the training in a process of its own failed with exit code %d; its output is in %s"
                .formatted(process.exitValue(), log),
            null);
      }
      return true;
    } catch (IOException e) {
      throw RlhfException.environment("no process of its own can be started: " + e.getMessage(), e);
    } catch (InterruptedException e) {
      throw new IllegalStateException("nobody interrupts this thread", e);
    }
  }

  private Run look(Compute compute, Stages stages, Variant variant, long seed) {
    String output = variant.name() + "-" + seed;
    try (Storyteller sft = stages.storyteller(compute, Stages.SFT);
        Storyteller policy = stages.storyteller(compute, output);
        ModelReward reward = stages.rewardModel(compute)) {
      Evaluation stories =
          Evaluation.of(
              policy, stages.data().compared(), recipe.evaluationSamples(), seed, done -> {});
      return new Run(
          variant.name(),
          seed,
          stories.gold().reward(),
          stories.proxy(reward),
          stories.kl(sft),
          costs(folder.resolve(output)));
    }
  }

  /** Seconds of sampling, scoring and updating in all, of computing, and the most memory held. */
  private Map<String, Double> costs(Path run) {
    Map<String, Double> costs = new LinkedHashMap<>();
    costs.put(CPU_SECONDS, cpuSeconds.getOrDefault(run, Double.NaN));
    JsonMapper json = new JsonMapper();
    Path file = run.resolve("metrics.jsonl");
    try {
      for (String line : Files.readAllLines(file)) {
        JsonNode row = json.readTree(line);
        for (String name :
            List.of(
                MetricNames.TIMING_SAMPLE, MetricNames.TIMING_SCORE, MetricNames.TIMING_UPDATE)) {
          costs.merge(name, row.path(name).asDouble(), Double::sum);
        }
        costs.merge(
            MetricNames.PEAK_RSS_MIB, row.path(MetricNames.PEAK_RSS_MIB).asDouble(), Math::max);
      }
    } catch (IOException e) {
      throw RlhfException.environment(file + ": cannot be read: " + e.getMessage(), e);
    }
    return costs;
  }

  private static String csv(List<Run> runs) {
    StringBuilder csv =
        new StringBuilder(
            "variant,seed,gold,proxy,kl,sample_s,score_s,update_s,cpu_s,peak_rss_mib\n");
    for (Run run : runs) {
      csv.append(
          "%s,%d,%s,%s,%s,%s,%s,%s,%s,%s%n"
              .formatted(
                  run.variant(),
                  run.seed(),
                  run.gold(),
                  run.proxy(),
                  run.kl(),
                  run.costs().get(MetricNames.TIMING_SAMPLE),
                  run.costs().get(MetricNames.TIMING_SCORE),
                  run.costs().get(MetricNames.TIMING_UPDATE),
                  run.costs().get(CPU_SECONDS),
                  run.costs().get(MetricNames.PEAK_RSS_MIB)));
    }
    return csv.toString();
  }

  private void table(List<Run> runs) {
    List<List<String>> rows = new ArrayList<>();
    for (Variant variant : VARIANTS) {
      List<Run> own = runs.stream().filter(run -> run.variant().equals(variant.name())).toList();
      rows.add(
          List.of(
              variant.said(),
              meanAndError(own, 2, Run::gold),
              meanAndError(own, 2, Run::proxy),
              meanAndError(own, 1, Run::kl),
              mean(own, MetricNames.TIMING_SAMPLE),
              mean(own, MetricNames.TIMING_SCORE),
              mean(own, MetricNames.TIMING_UPDATE),
              mean(own, CPU_SECONDS),
              mean(own, MetricNames.PEAK_RSS_MIB)));
    }
    console.table(
        "PPO on held-out requests, means of %d seeds ± standard errors".formatted(seeds.size()),
        List.of(
            "networks",
            "gold",
            "proxy",
            "KL",
            "sampling s",
            "scoring s",
            "updates s",
            "CPU s",
            "RSS MiB"),
        rows);
    console.line("  seconds: of the whole training; CPU s and RSS: of its process, start included");
    console.line("Data       " + folder.resolve(CSV_FILE));
  }

  private static String mean(List<Run> runs, String cost) {
    return fixed(
        runs.stream().mapToDouble(run -> run.costs().get(cost)).average().orElseThrow(), 0);
  }

  private static String meanAndError(List<Run> runs, int digits, ToDoubleFunction<Run> value) {
    double mean = runs.stream().mapToDouble(value).average().orElseThrow();
    if (runs.size() == 1) {
      return fixed(mean, digits);
    }
    double squares = runs.stream().mapToDouble(value).map(one -> (one - mean) * (one - mean)).sum();
    double error = Math.sqrt(squares / (runs.size() - 1) / runs.size());
    return fixed(mean, digits) + " ± " + fixed(error, digits);
  }

  private static String fixed(double value, int digits) {
    return String.format(Locale.ROOT, "%." + digits + "f", value);
  }
}
