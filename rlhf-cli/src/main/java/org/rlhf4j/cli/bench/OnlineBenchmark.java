package org.rlhf4j.cli.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ParameterSpec;
import org.rlhf4j.core.model.Weights;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.PpoConfig;
import org.rlhf4j.ppo.PpoTrainer;
import org.rlhf4j.ppo.group.GrpoConfig;
import org.rlhf4j.ppo.group.GrpoTrainer;
import org.rlhf4j.ppo.group.RlooConfig;
import org.rlhf4j.ppo.group.RlooTrainer;

/**
 * Times whole runs of the online trainers, from one call of a trivial reward to the next: drawing,
 * scoring and learning from 32 responses.
 */
final class OnlineBenchmark {
  static final int SAMPLES = 32;
  static final int GROUP = 8;
  static final int PROMPT = 64;
  static final int NEW_TOKENS = 32;
  static final int EPOCHS = 4;

  private static final List<String> PHASES =
      List.of(MetricNames.TIMING_SAMPLE, MetricNames.TIMING_SCORE, MetricNames.TIMING_UPDATE);

  private final BenchConfig config;
  private final ModelFamilies.Model model;
  private final Weights.Source source;

  /**
   * Runs on a random model of a shape.
   *
   * @param source of its values
   */
  OnlineBenchmark(BenchConfig config, ModelFamilies.Model model, Weights.Source source) {
    this.config = config;
    this.model = model;
    this.source = source;
  }

  /**
   * What a run showed.
   *
   * @param seconds of each timed roll-out
   * @param startup from the start of the process to the end of the first optimizer step
   * @param phases seconds of a timed roll-out by phase, medians
   */
  record Measured(List<Double> seconds, double startup, Map<String, Double> phases) {}

  /** Blocks that PPO trains. */
  static int unfrozen(DecoderSpec spec) {
    return Math.min(2, spec.layers());
  }

  /** Proximal policy optimisation, the two upper blocks trained. */
  Measured ppo() {
    return measure(
        (folder, reward, listener) -> {
          PpoConfig run =
              common(Config.of(PpoConfig.class), folder)
                  .set("total_episodes", SAMPLES * rounds())
                  .set("rollout_batch_size", SAMPLES)
                  .set("num_ppo_epochs", EPOCHS)
                  .set("mini_batch_size", SAMPLES)
                  .set("num_layers_unfrozen", unfrozen(model.spec()))
                  .build();
          new PpoTrainer(run, listener, reward).train();
        });
  }

  /** Group-relative policy optimisation, all layers trained, beside a full reference. */
  Measured grpo() {
    return measure(
        (folder, reward, context) ->
            new GrpoTrainer(group(GrpoConfig.class, folder), context, reward).train());
  }

  /** REINFORCE with leave-one-out baselines, likewise. */
  Measured rloo() {
    return measure(
        (folder, reward, context) ->
            new RlooTrainer(group(RlooConfig.class, folder), context, reward).train());
  }

  private <T extends Record> T group(Class<T> type, Path folder) {
    return common(Config.of(type), folder)
        .set("total_episodes", SAMPLES * rounds())
        .set("rollout_batch_size", SAMPLES / GROUP)
        .set("num_generations", GROUP)
        .set("num_iterations", EPOCHS)
        .set("mini_batch_size", SAMPLES)
        .set("beta", 0.05)
        .build();
  }

  /** A run on a folder. */
  private interface Run {
    void train(Path folder, RewardFunction reward, RunContext context);
  }

  private int rounds() {
    return config.warmup() + config.steps() + 1;
  }

  private <T extends Record> ConfigBuilder<T> common(ConfigBuilder<T> builder, Path folder) {
    return builder
        .set("model_name_or_path", folder.resolve("model").toString())
        .set("dataset_path", folder.resolve("prompts.jsonl").toString())
        .set("output_dir", folder.resolve("run").toString())
        .set("dtype", config.dtype().name().toLowerCase(java.util.Locale.ROOT))
        .set("device", config.device())
        .set("per_device_train_batch_size", SAMPLES)
        .set("max_new_tokens", NEW_TOKENS)
        .set("ignore_eos", true)
        .set("logging_steps", 1)
        .set("save_strategy", "no");
  }

  private Measured measure(Run run) {
    Path folder = null;
    try {
      folder = Files.createTempDirectory("rlhf4j-bench");
      writeModel(Files.createDirectory(folder.resolve("model")));
      List<String> prompts = new ArrayList<>();
      for (PromptRow row :
          new BenchData(model.spec().vocabularySize()).prompts(SAMPLES * rounds(), PROMPT)) {
        prompts.add("{\"input_ids\": " + Arrays.toString(row.ids()) + "}");
      }
      Files.write(folder.resolve("prompts.jsonl"), prompts);
      return timed(run, folder);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } finally {
      delete(folder);
    }
  }

  private Measured timed(Run run, Path folder) {
    List<Long> rewarded = new ArrayList<>();
    double[] startup = new double[1];
    RewardFunction reward =
        completions -> {
          // The first roll-out's are asked for again, by themselves, to see that they are the same.
          if (completions.size() == SAMPLES) {
            rewarded.add(System.nanoTime());
          }
          return completions.stream()
              .mapToDouble(each -> Arrays.stream(each.ids()).limit(20).sum() % 17)
              .toArray();
        };
    Map<String, List<Double>> phases = new LinkedHashMap<>();
    RunContext silent = RunContext.silent();
    RunContext.MetricsListener listener =
        row -> {
          if (row.containsKey(MetricNames.LOSS) && startup[0] == 0) {
            startup[0] =
                (System.currentTimeMillis() - ManagementFactory.getRuntimeMXBean().getStartTime())
                    / 1e3;
          }
          for (String name : PHASES) {
            if (row.get(name) instanceof Number seconds) {
              phases.computeIfAbsent(name, key -> new ArrayList<>()).add(seconds.doubleValue());
            }
          }
        };
    run.train(
        folder,
        reward,
        new RunContext(silent.console(), silent.stop(), listener, silent.command()));
    List<Double> seconds = new ArrayList<>();
    for (int i = config.warmup() + 1; i < rewarded.size(); i++) {
      seconds.add((rewarded.get(i) - rewarded.get(i - 1)) / 1e9);
    }
    Map<String, Double> medians = new LinkedHashMap<>();
    phases.forEach((name, values) -> medians.put(name, median(values, config.warmup(), rounds())));
    return new Measured(seconds, startup[0], medians);
  }

  /**
   * Of the timed roll-outs; an update has several steps, each of which tells its time.
   *
   * @param warmup roll-outs that are not timed, the first ones
   * @param rounds roll-outs in all
   */
  static double median(List<Double> values, int warmup, int rounds) {
    int each = values.size() / rounds;
    List<Double> sums = new ArrayList<>();
    for (int from = warmup * each; from < values.size(); from += each) {
      sums.add(values.subList(from, from + each).stream().mapToDouble(Double::doubleValue).sum());
    }
    sums.sort(Comparator.naturalOrder());
    return sums.get(sums.size() / 2);
  }

  private void writeModel(Path folder) throws IOException {
    Files.copy(config.shape(), folder.resolve("config.json"));
    List<TensorSource> tensors = new ArrayList<>();
    for (ParameterSpec parameter : model.parameters()) {
      tensors.add(
          TensorSource.floats(
              parameter.name(),
              StoredType.F32,
              parameter.shape(),
              (from, target) -> source.fill(parameter, from, target)));
    }
    SafetensorsWriter.writeModel(folder, tensors);
  }

  private static void delete(Path folder) {
    if (folder == null) {
      return;
    }
    try (Stream<Path> all = Files.walk(folder)) {
      for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(path);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
