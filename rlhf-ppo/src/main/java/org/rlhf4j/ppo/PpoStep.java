package org.rlhf4j.ppo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Predicate;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.TokenRowWriter;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.ppo.rollout.Floats;

/** One optimizer step of PPO on a mini-batch of experience. */
final class PpoStep {
  private static final float[] NONE = {};

  private final Torch torch;
  private final PpoNetworks networks;
  private final Optimization optimization;
  private final List<Optimization.Part> parts;
  private final UpdateConfig config;

  /** Steps of networks, all parts the caller's; {@code parts} are those of the optimization. */
  PpoStep(
      Torch torch,
      PpoNetworks networks,
      Optimization optimization,
      List<Optimization.Part> parts,
      UpdateConfig config) {
    this.torch = torch;
    this.networks = networks;
    this.optimization = optimization;
    this.parts = parts;
    this.config = config;
  }

  /**
   * What a step found, before its update.
   *
   * @param update of the weights; null where it was not made
   * @param tokens computed
   * @param figures by metric name
   */
  record Outcome(
      Optimization.Update update, double loss, long tokens, Map<String, Double> figures) {
    double figure(String name) {
      return figures.get(name);
    }
  }

  /**
   * Sums the gradients of the micro-batches and moves the weights once.
   *
   * @param samples of the roll-out
   * @param microBatches places in them
   * @param cache their trunk states; null: they are computed here
   * @param guard looks at what was found, and says whether to move the weights
   * @throws RlhfException if the loss or the gradients are not finite; then nothing is moved
   */
  Outcome run(
      List<Experience> samples,
      List<int[]> microBatches,
      TrunkCache cache,
      Predicate<Map<String, Double>> guard) {
    long targets = 0;
    for (int[] places : microBatches) {
      targets += Arrays.stream(places).mapToLong(place -> samples.get(place).ids().length).sum();
    }
    networks.policy().startStep(optimization.steps());
    try (TensorScope scope = torch.scope()) {
      List<Gradients> gradients = new ArrayList<>();
      for (Optimization.Part part : parts) {
        gradients.add(new Gradients(torch.ops(), scope, part.weights()));
      }
      Sums sums = new Sums(targets);
      for (int[] places : microBatches) {
        Gradients.inPieces(
                torch,
                gradients,
                Arrays.stream(places).boxed().toList(),
                Arrays.stream(places).mapToLong(place -> samples.get(place).row().length()).sum(),
                (some, into) ->
                    sums(
                        samples,
                        some.stream().mapToInt(Integer::intValue).toArray(),
                        cache,
                        sums.targets,
                        into))
            .forEach(sums::add);
      }
      double loss = sums.loss(config);
      if (!Double.isFinite(loss)) {
        throw RlhfException.nonFinite(
            "the loss is " + loss + " at step " + (optimization.steps() + 1));
      }
      Map<String, Double> figures = sums.figures();
      Optimization.Update update = guard.test(figures) ? optimization.step(gradients) : null;
      return new Outcome(update, loss, sums.computed, figures);
    }
  }

  /** What some samples of a step add to its gradients and sums. */
  private Sums sums(
      List<Experience> samples,
      int[] places,
      TrunkCache cache,
      long targets,
      List<Gradients> gradients) {
    Sums sums = new Sums(targets);
    List<Experience> part = Arrays.stream(places).mapToObj(samples::get).toList();
    TokenBatch batch = TokenBatch.ofTargets(part.stream().map(Experience::row).toList());
    try (TensorScope scope = torch.scope()) {
      PpoNetworks.States states =
          cache == null ? networks.states(scope, batch) : cache.of(scope, places);
      float[] entropies =
          networks.addGradients(
              batch, states, (logProbs, values) -> loss(part, sums, logProbs, values), gradients);
      for (float entropy : entropies) {
        sums.entropy += (double) entropy / targets;
      }
    }
    sums.computed = batch.tokens();
    return sums;
  }

  /** The rows of a step as lines of a data file on which they can be looked at. */
  static List<String> lines(List<Experience> samples, List<int[]> microBatches) {
    return microBatches.stream()
        .flatMapToInt(Arrays::stream)
        .mapToObj(place -> TokenRowWriter.line(samples.get(place).row()))
        .toList();
  }

  /** {@code policy loss + vf_coef · value loss - entropy_coef · entropy}, means over all tokens. */
  private PpoNetworks.Terms loss(
      List<Experience> part, Sums sums, float[] logProbs, float[] values) {
    boolean[] mask = new boolean[logProbs.length];
    Arrays.fill(mask, true);
    double[] now = Floats.wide(logProbs);
    double[] before = flat(part, sample -> Floats.wide(sample.logProbs()));
    PpoLoss.Policy policy =
        PpoLoss.policy(
            now, before, flat(part, Experience::advantages), mask, sums.targets, config.clip());
    PpoLoss.Value value =
        PpoLoss.value(
            Floats.wide(values),
            flat(part, sample -> Floats.wide(sample.values())),
            flat(part, Experience::returns),
            mask,
            sums.targets,
            config.cliprangeValue());
    sums.add(policy, value);
    for (int t = 0; t < now.length; t++) {
      double ratio = Math.exp(now[t] - before[t]);
      sums.squaredRatios += ratio * ratio / sums.targets;
      double logRatio = now[t] - before[t];
      sums.approximateKl += 0.5 * logRatio * logRatio / sums.targets;
      sums.largestLogRatio = Math.max(sums.largestLogRatio, Math.abs(logRatio));
    }
    float[] ofEntropies = NONE;
    if (config.entropyCoef() != 0) {
      ofEntropies = new float[logProbs.length];
      Arrays.fill(ofEntropies, (float) (-config.entropyCoef() / sums.targets));
    }
    return new PpoNetworks.Terms(
        times(1, policy.derivative()), ofEntropies, times(config.vfCoef(), value.derivative()));
  }

  private static double[] flat(List<Experience> part, Function<Experience, double[]> numbers) {
    return part.stream().map(numbers).flatMapToDouble(Arrays::stream).toArray();
  }

  private static float[] times(double factor, double[] values) {
    float[] products = new float[values.length];
    for (int i = 0; i < products.length; i++) {
      products[i] = (float) (factor * values[i]);
    }
    return products;
  }

  /** Sums over micro-batches of what is divided by the tokens of the mini-batch. */
  private static final class Sums {
    private final long targets;
    private long computed;
    private double policyLoss;
    private double valueLoss;
    private double entropy;
    private double approximateKl;
    private double klToOld;
    private double largestLogRatio;
    private double policyClipped;
    private double valueClipped;
    private double ratio;
    private double squaredRatios;

    private Sums(long targets) {
      this.targets = targets;
    }

    void add(Sums other) {
      computed += other.computed;
      policyLoss += other.policyLoss;
      valueLoss += other.valueLoss;
      entropy += other.entropy;
      approximateKl += other.approximateKl;
      klToOld += other.klToOld;
      largestLogRatio = Math.max(largestLogRatio, other.largestLogRatio);
      policyClipped += other.policyClipped;
      valueClipped += other.valueClipped;
      ratio += other.ratio;
      squaredRatios += other.squaredRatios;
    }

    void add(PpoLoss.Policy policy, PpoLoss.Value value) {
      policyLoss += policy.loss();
      valueLoss += value.loss();
      klToOld += policy.ratios().approxKl();
      policyClipped += policy.ratios().clippedShare();
      valueClipped += value.clippedShare();
      ratio += policy.ratios().mean();
    }

    double loss(UpdateConfig config) {
      return policyLoss + config.vfCoef() * valueLoss - config.entropyCoef() * entropy;
    }

    Map<String, Double> figures() {
      Map<String, Double> figures = new LinkedHashMap<>();
      figures.put(MetricNames.POLICY_LOSS, policyLoss);
      figures.put(MetricNames.VALUE_LOSS, valueLoss);
      figures.put(MetricNames.APPROXIMATE_KL, approximateKl);
      figures.put(MetricNames.KL_TO_OLD, klToOld);
      figures.put(MetricNames.POLICY_CLIP_FRACTION, policyClipped);
      figures.put(MetricNames.POLICY_ENTROPY, entropy);
      figures.put(MetricNames.VALUE_CLIP_FRACTION, valueClipped);
      figures.put(MetricNames.RATIO, ratio);
      figures.put(MetricNames.RATIO_VARIANCE, ratio);
      figures.put(MetricNames.RATIO_TOKEN_VARIANCE, Math.max(0, squaredRatios - ratio * ratio));
      figures.put(MetricNames.LARGEST_LOG_RATIO, largestLogRatio);
      return figures;
    }
  }
}
