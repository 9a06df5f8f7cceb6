package org.rlhf4j.cli.quickstart;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.ToDoubleFunction;
import java.util.stream.DoubleStream;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.MetricsLog;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.train.RunContext;

/**
 * What PPO's networks cost: the time of a roll-out and memory, on a random model that is large
 * enough for both to show. Each training is a process of its own, one at a time; the networks take
 * turns.
 */
final class NetworkCosts {
  private static final String MODEL = "random";
  private static final int POLL_MILLIS = 200;

  private final Path folder;
  private final Sizes sizes;
  private final RunContext context;

  /**
   * How much of everything.
   *
   * @param model that is trained
   * @param samples of a roll-out, and of a step
   * @param rollouts of a training, at least two: the first is not counted, since a process begins
   *     slowly
   * @param turns trainings of each variant
   */
  record Sizes(RandomModel.Size model, int samples, int rollouts, int turns) {
    /** Under five minutes on two cores. */
    static Sizes standard() {
      return new Sizes(new RandomModel.Size(8, 384), 32, 4, 2);
    }
  }

  /**
   * Seconds of a roll-out.
   *
   * @param sampling drawing the responses
   * @param scoring rewards, log-probabilities and values
   * @param updates all steps
   */
  record Seconds(double sampling, double scoring, double updates) {
    double all() {
      return sampling + scoring + updates;
    }
  }

  /**
   * What a process showed.
   *
   * @param rollouts without the first
   * @param peakMib the most memory it held; NaN where the operating system does not tell
   */
  record Measured(List<Seconds> rollouts, double peakMib) {}

  /**
   * What a variant costs.
   *
   * @param turns one process each
   */
  record Cost(List<Measured> turns) {
    /** Median over the roll-outs. */
    double seconds(ToDoubleFunction<Seconds> part) {
      return median(turns.stream().flatMap(turn -> turn.rollouts().stream()).mapToDouble(part));
    }

    /** Median over the processes. */
    double peakMib() {
      return median(turns.stream().mapToDouble(Measured::peakMib));
    }

    private static double median(DoubleStream values) {
      double[] sorted = values.sorted().toArray();
      return (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2;
    }
  }

  /** Measures beside the toy world of a folder. */
  NetworkCosts(Path folder, Sizes sizes, RunContext context) {
    this.folder = folder;
    this.sizes = sizes;
    this.context = context;
  }

  /** What is trained, in words. */
  String said() {
    return "%d by a random model of %d layers, %d wide"
        .formatted(sizes.samples(), sizes.model().layers(), sizes.model().width());
  }

  /**
   * Measures all variants; none where somebody asked to stop.
   *
   * @param commandLine the class whose {@code ppo} is called
   * @param ppo what the variants differ from
   */
  Map<NetworkVariant, Cost> measure(Class<?> commandLine, StageCommand ppo) {
    RandomModel.write(folder.resolve(Stages.BASE), sizes.model(), folder.resolve(MODEL));
    NetworkVariant[] variants = NetworkVariant.values();
    Map<NetworkVariant, Cost> costs = new EnumMap<>(NetworkVariant.class);
    try (Progress progress =
        context.console().progress("costs", (long) variants.length * sizes.turns(), "trainings")) {
      for (int turn = 1; turn <= sizes.turns(); turn++) {
        for (NetworkVariant variant : variants) {
          Path output = folder.resolve("%s-%s-%d".formatted(MODEL, variant, turn));
          if (!train(commandLine, variant.of(ppo).with(larger()), output)) {
            return Map.of();
          }
          costs
              .computeIfAbsent(variant, key -> new Cost(new ArrayList<>()))
              .turns()
              .add(measured(output.resolve(MetricsLog.FILE_NAME)));
          progress.advance(1);
        }
      }
    }
    return costs;
  }

  private Map<String, Object> larger() {
    return Map.of(
        "model_name_or_path",
        folder.resolve(MODEL),
        "total_episodes",
        sizes.samples() * sizes.rollouts(),
        "rollout_batch_size",
        sizes.samples(),
        "mini_batch_size",
        sizes.samples(),
        "learning_rate",
        1e-6,
        "ignore_eos",
        true,
        "logging_steps",
        1);
  }

  /** Trains in a process of its own. False where somebody asked to stop. */
  private boolean train(Class<?> commandLine, StageCommand ppo, Path output) {
    List<String> words = new ArrayList<>();
    words.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    words.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
    words.addAll(
        List.of("-cp", System.getProperty("java.class.path"), commandLine.getName(), ppo.verb()));
    Map<String, Object> keys = new LinkedHashMap<>(ppo.keys());
    keys.put("output_dir", output);
    keys.forEach((key, value) -> words.addAll(List.of("--" + key, value.toString())));
    Path log = folder.resolve(output.getFileName() + ".log");
    try {
      Process process =
          new ProcessBuilder(words).redirectErrorStream(true).redirectOutput(log.toFile()).start();
      while (!process.waitFor(POLL_MILLIS, TimeUnit.MILLISECONDS)) {
        if (context.stop().requested()) {
          process.destroy();
        }
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

  /**
   * Reads the metrics of a run that logs every step.
   *
   * @throws RlhfException if they cannot be read
   */
  static Measured measured(Path metrics) {
    List<Seconds> rollouts = new ArrayList<>();
    double peakMib = Double.NaN;
    JsonMapper json = new JsonMapper();
    try {
      for (String line : Files.readAllLines(metrics)) {
        JsonNode row = json.readTree(line);
        peakMib = row.path(MetricNames.PEAK_RSS_MIB).asDouble(Double.NaN);
        if (row.has(MetricNames.TIMING_SAMPLE)) {
          rollouts.add(
              new Seconds(
                  row.get(MetricNames.TIMING_SAMPLE).asDouble(),
                  row.get(MetricNames.TIMING_SCORE).asDouble(),
                  0));
        } else if (row.has(MetricNames.TIMING_UPDATE)) {
          Seconds before = rollouts.remove(rollouts.size() - 1);
          double updates = before.updates() + row.get(MetricNames.TIMING_UPDATE).asDouble();
          rollouts.add(new Seconds(before.sampling(), before.scoring(), updates));
        }
      }
    } catch (IOException e) {
      throw RlhfException.environment(metrics + ": cannot be read: " + e.getMessage(), e);
    }
    return new Measured(rollouts.subList(1, rollouts.size()), peakMib);
  }
}
