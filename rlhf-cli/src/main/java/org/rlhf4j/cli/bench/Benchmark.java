package org.rlhf4j.cli.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.LrSchedulerType;
import org.rlhf4j.core.data.PackedRow;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenPair;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.SamplingConfig;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ModelHead;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.ParameterSpec;
import org.rlhf4j.core.model.RewardModel;
import org.rlhf4j.core.model.Weights;
import org.rlhf4j.core.report.SystemStats;
import org.rlhf4j.core.torch.AdamW;
import org.rlhf4j.core.torch.Products;
import org.rlhf4j.core.train.Compute;
import org.rlhf4j.core.train.LanguageModelStep;
import org.rlhf4j.core.train.LearningRateSchedule;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.core.train.TokenLoss;
import org.rlhf4j.reward.PairStep;
import org.rlhf4j.reward.RewardLoss;

/**
 * Times the classes that the verbs use, on a random model except where loading is timed. The
 * figures are rates over the timed steps, with the rate of plain matrix products in the same run
 * beside them.
 */
public final class Benchmark {
  private static final int BATCH = 8;
  private static final int ROW = 128;
  private static final int PROMPT = 64;
  private static final int NEW_TOKENS = 64;
  private static final int PRODUCT_TRIALS = 6;

  private final BenchConfig config;
  private final DecoderSpec spec;
  private final ModelFamilies.Model model;
  private final double initializerRange;

  /**
   * A benchmark of a shape.
   *
   * @throws org.rlhf4j.core.RlhfException if the shape cannot be read
   */
  public Benchmark(BenchConfig config) {
    this.config = config;
    JsonNode shape;
    try {
      shape = new JsonMapper().readTree(config.shape().toFile());
    } catch (IOException e) {
      throw RlhfException.input(config.shape() + " is no JSON: " + e.getMessage(), e);
    }
    this.model = ModelFamilies.of(shape, config.shape());
    this.spec = model.spec();
    this.initializerRange = shape.path("initializer_range").asDouble(0.02);
  }

  private record Work(String unit, double perStep, double flopsPerStep, Runnable step) {}

  /** Runs it; the fields of the result are those of one JSON line. */
  public Map<String, Object> run() {
    try (Compute compute = Compute.open(config.device(), config.dtype())) {
      return switch (config.workload()) {
        case SFT -> sft(compute);
        case REWARD -> reward(compute);
        case SAMPLE -> sample(compute);
        case PPO -> ppo(compute);
        case GRPO -> group(compute, online().grpo());
        case RLOO -> group(compute, online().rloo());
        case LOAD -> load(compute);
      };
    }
  }

  private Map<String, Object> sft(Compute compute) {
    int steps = config.warmup() + config.steps();
    List<PackedRow> rows = new BenchData(spec.vocabularySize()).rows(BATCH * steps, ROW);
    try (CausalLm lm =
            new CausalLm(compute.torch(), spec, weights(compute, model.parameters(), true));
        Optimization optimization = optimization(compute, lm.weights())) {
      LanguageModelStep step =
          new LanguageModelStep(lm, optimization, TokenLoss.meanOverTargets(), false);
      int[] at = {0};
      Runnable one =
          () -> {
            step.run(List.of(rows.subList(at[0], at[0] + BATCH)));
            at[0] += BATCH;
          };
      double tokens = BATCH * ROW;
      double flops = 6.0 * (blockWeights() + headWeights()) * tokens + 3 * attention(ROW, BATCH);
      return time(compute, new Work("tokens/s", tokens, flops, one));
    }
  }

  private Map<String, Object> reward(Compute compute) {
    int steps = config.warmup() + config.steps();
    List<TokenPair> pairs =
        new BenchData(spec.vocabularySize()).pairs(BATCH * steps, config.lengths());
    List<ParameterSpec> parameters = new ArrayList<>(model.family().parameters(spec));
    parameters.addAll(model.family().headParameters(spec, ModelHead.SEQUENCE_CLASSIFICATION));
    try (RewardModel scorer =
            new RewardModel(compute.torch(), spec, weights(compute, parameters, true));
        Optimization optimization = optimization(compute, scorer.weights())) {
      PairStep step = new PairStep(scorer, optimization, RewardLoss.meanOverPairs(0), false);
      int[] at = {0};
      Runnable one =
          () -> {
            step.run(List.of(pairs.subList(at[0], at[0] + BATCH)));
            at[0] += BATCH;
          };
      double tokens =
          pairs.stream().mapToLong(pair -> pair.chosen().length() + pair.rejected().length()).sum()
              / (double) steps;
      return time(compute, new Work("pairs/s", BATCH, 6.0 * blockWeights() * tokens, one));
    }
  }

  private Map<String, Object> sample(Compute compute) {
    List<PromptRow> prompts = new BenchData(spec.vocabularySize()).prompts(BATCH, PROMPT);
    SamplingConfig sampling =
        new SamplingConfig(
            true, 1, 0, config.topP(), 0, 1, 0, NEW_TOKENS, 0, List.of(), false, true);
    try (CausalLm lm =
            new CausalLm(compute.torch(), spec, weights(compute, model.parameters(), false));
        Generator generator = new Generator(lm, null, sampling, new int[] {2})) {
      long[] round = {0};
      Runnable one =
          () ->
              generator.generate(
                  prompts, new Generator.Plan(BATCH, BATCH * BATCH, 0, round[0]++), done -> {});
      double tokens = BATCH * BATCH * NEW_TOKENS;
      double flops =
          2.0 * (blockWeights() + headWeights()) * tokens + 2.0 * blockWeights() * BATCH * PROMPT;
      return time(compute, new Work("new tokens/s", tokens, flops, one));
    }
  }

  private Map<String, Object> ppo(Compute compute) {
    OnlineBenchmark.Measured run = online().ppo();
    double responses = (double) OnlineBenchmark.SAMPLES * OnlineBenchmark.NEW_TOKENS;
    double prompts = (double) OnlineBenchmark.SAMPLES * OnlineBenchmark.PROMPT;
    double tokens = prompts + responses;
    double blocks = blockWeights();
    double head = headWeights();
    double trained = (double) OnlineBenchmark.unfrozen(spec) / spec.layers();
    double drawing = 2 * (blocks + head) * responses + 2 * blocks * prompts;
    double scoring = 2 * blocks * (1 + trained) * tokens + 4 * head * responses;
    double learning = 6 * (blocks * trained * tokens + head * responses) * OnlineBenchmark.EPOCHS;
    return online(compute, run, drawing + scoring + learning);
  }

  private OnlineBenchmark online() {
    return new OnlineBenchmark(config, model, source());
  }

  private Map<String, Object> group(Compute compute, OnlineBenchmark.Measured run) {
    double responses = (double) OnlineBenchmark.SAMPLES * OnlineBenchmark.NEW_TOKENS;
    double prompts =
        (double) OnlineBenchmark.SAMPLES / OnlineBenchmark.GROUP * OnlineBenchmark.PROMPT;
    double weights = blockWeights() + headWeights();
    double drawing = 2 * weights * responses + 2 * blockWeights() * prompts;
    double pass = blockWeights() * (prompts + responses) + headWeights() * responses;
    // Old log-probabilities, the reference's, and forward and backward for each step.
    return online(compute, run, drawing + (2 * 2 + 6 * OnlineBenchmark.EPOCHS) * pass);
  }

  private Map<String, Object> online(
      Compute compute, OnlineBenchmark.Measured run, double flopsPerRound) {
    int samples = OnlineBenchmark.SAMPLES;
    List<Double> rates = new ArrayList<>();
    run.seconds().forEach(seconds -> rates.add(samples / seconds));
    Work work = new Work("samples/s", samples, flopsPerRound, null);
    Map<String, Object> line = line(compute, work, rates, run.startup());
    line.putAll(run.phases());
    return line;
  }

  private Map<String, Object> load(Compute compute) {
    Path folder = config.shape().toAbsolutePath().getParent();
    ModelLoader.Options options = new ModelLoader.Options(compute.type(), false);
    Runnable one =
        () -> ModelLoader.causalLm(compute.torch(), ModelFolder.open(folder), options).close();
    // The first load is what a run has; later ones find the memory of the first.
    return time(compute, new Work("loads/s", 1, 0, one), 0, 1);
  }

  private Optimization optimization(Compute compute, Weights weights) {
    return new Optimization(
        compute.torch(),
        weights,
        new AdamW.Settings(0.9, 0.999, 1e-8, 0),
        new LearningRateSchedule(LrSchedulerType.CONSTANT, 2e-5, 0, 1, 0),
        1.0);
  }

  private Weights weights(Compute compute, List<ParameterSpec> parameters, boolean trainable) {
    return new Weights(compute.torch(), parameters, source(), compute.type(), trainable);
  }

  private Weights.Source source() {
    return (parameter, from, target) -> {
      boolean norm = !parameter.weightDecay();
      SplittableRandom random = new SplittableRandom(parameter.name().hashCode() + from);
      double halfWidth = initializerRange * Math.sqrt(3);
      while (target.hasRemaining()) {
        target.put(norm ? 1f : (float) (halfWidth * (2 * random.nextDouble() - 1)));
      }
    };
  }

  /** Weights of the blocks that take part in a matrix product for each token. */
  private double blockWeights() {
    return model.family().parameters(spec).stream()
        .filter(parameter -> parameter.weightDecay() && parameter.name().matches(".*\\.\\d+\\..*"))
        .mapToLong(ParameterSpec::elements)
        .sum();
  }

  private double headWeights() {
    return (double) spec.vocabularySize() * spec.hiddenSize();
  }

  /** Floating-point operations of causal attention over rows, forward. */
  private double attention(int length, int rows) {
    return 2.0 * rows * spec.layers() * spec.attention().width() * length * length;
  }

  private Map<String, Object> time(Compute compute, Work work) {
    return time(compute, work, config.warmup(), config.steps());
  }

  private Map<String, Object> time(Compute compute, Work work, int warmup, int steps) {
    double startup = 0;
    List<Double> rates = new ArrayList<>();
    for (int i = 0; i < warmup + steps; i++) {
      long start = System.nanoTime();
      work.step().run();
      double seconds = (System.nanoTime() - start) / 1e9;
      if (i == 0) {
        startup =
            (System.currentTimeMillis() - ManagementFactory.getRuntimeMXBean().getStartTime())
                / 1e3;
      }
      if (i >= warmup) {
        rates.add(work.perStep() / seconds);
      }
    }
    return line(compute, work, rates, startup);
  }

  private Map<String, Object> line(Compute compute, Work work, List<Double> rates, double startup) {
    Long peak = SystemStats.now().peakResidentBytes();
    double products = Products.rate(compute.torch(), compute.type(), PRODUCT_TRIALS);
    Collections.sort(rates);
    double median = (rates.get((rates.size() - 1) / 2) + rates.get(rates.size() / 2)) / 2;
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("bench", config.workload().name().toLowerCase(Locale.ROOT) + lengthsSuffix());
    line.put("shape", shapeName());
    line.put("dtype", compute.dtypeName());
    line.put("threads", compute.torch().threads());
    line.put("unit", work.unit());
    line.put("median", median);
    line.put("low", rates.get(0));
    line.put("high", rates.get(rates.size() - 1));
    line.put("steps", rates.size());
    line.put("peak_rss_mib", peak == null ? null : peak >> 20);
    line.put("startup_s", startup);
    line.put("gemm_gflops", products / 1e9);
    if (work.flopsPerStep() > 0) {
      line.put("mfu", median / work.perStep() * work.flopsPerStep() / products);
    }
    if (config.workload() == BenchConfig.Workload.SAMPLE) {
      line.put("top_p", config.topP());
    }
    return line;
  }

  private String shapeName() {
    Path file = config.shape().toAbsolutePath();
    boolean folder = config.workload() == BenchConfig.Workload.LOAD;
    return (folder ? file.getParent() : file).getFileName().toString().replace(".json", "");
  }

  private String lengthsSuffix() {
    return config.workload() == BenchConfig.Workload.REWARD
        ? "-" + config.lengths().name().toLowerCase(Locale.ROOT)
        : "";
  }
}
