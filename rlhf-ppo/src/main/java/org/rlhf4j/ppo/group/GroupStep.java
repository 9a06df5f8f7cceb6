package org.rlhf4j.ppo.group;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.TokenRowWriter;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.ppo.rollout.Floats;
import org.rlhf4j.ppo.rollout.Lengths;

/** One optimizer step of a group method on some groups of a roll-out. */
final class GroupStep {
  private final Torch torch;
  private final GroupNetworks networks;
  private final Optimization optimization;
  private final GroupMethod method;
  private final int longest;

  /**
   * Steps of networks, all parts the caller's.
   *
   * @param longest the most tokens of a response
   */
  GroupStep(
      Torch torch,
      GroupNetworks networks,
      Optimization optimization,
      GroupMethod method,
      int longest) {
    this.torch = torch;
    this.networks = networks;
    this.optimization = optimization;
    this.method = method;
    this.longest = longest;
  }

  /**
   * What a step learns from.
   *
   * @param samples of the roll-out
   * @param parts of the roll-out
   * @param microBatches parts that are computed side by side
   * @param trunk of the parts; null: it is computed here
   */
  record Work(
      List<GroupSample> samples,
      GroupParts parts,
      List<List<Integer>> microBatches,
      GroupTrunk trunk) {
    List<GroupSample> samples(List<Integer> of) {
      return Arrays.stream(parts.placesOf(of)).mapToObj(samples::get).toList();
    }

    /** The rows as lines of a data file on which they can be looked at. */
    List<String> lines() {
      return microBatches.stream()
          .flatMap(batch -> samples(batch).stream())
          .map(sample -> TokenRowWriter.line(sample.row()))
          .toList();
    }
  }

  /**
   * What a step found, before its update.
   *
   * @param update of the weights
   * @param tokens computed
   * @param figures by metric name
   */
  record Outcome(
      Optimization.Update update, double loss, long tokens, Map<String, Double> figures) {}

  /**
   * Ratios of new to old probability.
   *
   * @param mean of a step, as its loss has them
   * @param largestLog log-ratio of a token, without its sign
   */
  record Ratios(double mean, double largestLog) {}

  /**
   * Sums the gradients of the micro-batches and moves the weights once.
   *
   * @param ratios looks at the ratios before the weights are moved
   * @throws RlhfException if the loss or the gradients are not finite; then nothing is moved
   */
  Outcome run(Work work, Consumer<Ratios> ratios) {
    int responses = 0;
    int targets = 0;
    for (List<Integer> batch : work.microBatches()) {
      for (GroupSample sample : work.samples(batch)) {
        responses++;
        targets += sample.ids().length;
      }
    }
    networks.policy().startStep(optimization.steps());
    try (TensorScope scope = torch.scope()) {
      Gradients gradients = new Gradients(torch.ops(), scope, networks.policy().trained());
      GroupLossType.Batch step = new GroupLossType.Batch(responses, targets, longest);
      Sums sums = new Sums(null, step);
      for (List<Integer> microBatch : work.microBatches()) {
        int tokens = work.samples(microBatch).stream().mapToInt(one -> one.ids().length).sum();
        GroupLossType.Part part = new GroupLossType.Part(work.samples(microBatch).size(), tokens);
        Gradients.inPieces(
                torch,
                List.of(gradients),
                microBatch,
                work.parts().batch(microBatch).tokens(),
                (some, into) -> sums(work, some, new Sums(part, step), into.get(0)))
            .forEach(sums::add);
      }
      if (!Double.isFinite(sums.loss)) {
        throw RlhfException.nonFinite(
            "the loss is " + sums.loss + " at step " + (optimization.steps() + 1));
      }
      ratios.accept(new Ratios(sums.ratio, sums.largestLog));
      return new Outcome(optimization.step(gradients), sums.loss, sums.computed, sums.figures());
    }
  }

  /** What some parts of a step add to its gradients and sums. */
  private Sums sums(Work work, List<Integer> some, Sums sums, Gradients gradients) {
    TokenBatch batch = work.parts().batch(some);
    List<GroupSample> samples = work.samples(some);
    try (TensorScope scope = torch.scope()) {
      Tensor kept = work.trunk() == null ? null : work.trunk().of(scope, some);
      Tensor trunk = kept == null ? networks.trunk(scope, batch) : kept;
      float[] entropies =
          networks.addGradients(batch, trunk, logProbs -> sums.loss(samples, logProbs), gradients);
      for (float entropy : entropies) {
        sums.entropy += (double) entropy / sums.batch.tokens();
      }
    }
    sums.computed = batch.tokens();
    return sums;
  }

  /** Sums over micro-batches. */
  private final class Sums {
    private final GroupLossType.Part part;
    private final GroupLossType.Batch batch;
    private final Map<String, Double> further = new LinkedHashMap<>();
    private boolean clips;
    private long computed;
    private double loss;
    private double entropy;
    private double ratio;
    private double largestLog;
    private double clippedLow;
    private double clippedHigh;

    /** Of some of a part; the part is null for the sums of all. */
    private Sums(GroupLossType.Part part, GroupLossType.Batch batch) {
      this.part = part;
      this.batch = batch;
    }

    void add(Sums other) {
      other.further.forEach((name, value) -> further.merge(name, value, Double::sum));
      clips = other.clips;
      computed += other.computed;
      loss += other.loss;
      entropy += other.entropy;
      ratio += other.ratio;
      largestLog = Math.max(largestLog, other.largestLog);
      clippedLow += other.clippedLow;
      clippedHigh += other.clippedHigh;
    }

    /** The derivative of the loss of some samples. */
    float[] loss(List<GroupSample> samples, float[] logProbs) {
      double[] now = Floats.wide(logProbs);
      // The policy that learns is the one that sampled where no other is known: ρ is 1.
      clips = samples.get(0).logProbs() != null;
      double[] before =
          clips ? GroupMethod.Part.flat(samples, sample -> Floats.wide(sample.logProbs())) : now;
      for (int t = 0; t < now.length; t++) {
        largestLog = Math.max(largestLog, Math.abs(now[t] - before[t]));
      }
      GroupMethod.Share share =
          method.loss(new GroupMethod.Part(samples, now, before, part, batch));
      Lengths.require("derivatives", share.derivative().length, now.length);
      loss += share.loss();
      ratio += share.ratio();
      clippedLow += share.clippedLow();
      clippedHigh += share.clippedHigh();
      share.figures().forEach((name, value) -> further.merge(name, value, Double::sum));
      return Floats.narrow(share.derivative());
    }

    Map<String, Double> figures() {
      Map<String, Double> figures = new LinkedHashMap<>();
      figures.put(MetricNames.ENTROPY, entropy);
      figures.putAll(further);
      if (clips) {
        figures.put(MetricNames.CLIP_RATIO_LOW, clippedLow);
        figures.put(MetricNames.CLIP_RATIO_HIGH, clippedHigh);
        figures.put(MetricNames.CLIP_RATIO_REGION, clippedLow + clippedHigh);
        figures.put(MetricNames.RATIO, ratio);
      }
      return figures;
    }
  }
}
