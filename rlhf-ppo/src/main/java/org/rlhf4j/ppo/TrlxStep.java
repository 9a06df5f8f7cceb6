package org.rlhf4j.ppo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.Optimization;

/**
 * One optimizer step as in trlX: each micro-batch whitens its own advantages and has a loss of its
 * own, and their gradients are summed.
 */
final class TrlxStep {
  /** trlX's names of figures that have names here. */
  private static final Map<String, String> NAMES =
      Map.of(
          "losses/policy_loss",
          MetricNames.POLICY_LOSS,
          "losses/value_loss",
          MetricNames.VALUE_LOSS,
          "policy/approx_kl",
          MetricNames.KL_TO_OLD,
          "policy/clipfrac",
          MetricNames.POLICY_CLIP_FRACTION,
          "values/clipfrac",
          MetricNames.VALUE_CLIP_FRACTION,
          "ratio",
          MetricNames.RATIO);

  private final Torch torch;
  private final PpoNetworks networks;
  private final Optimization optimization;
  private final List<Optimization.Part> parts;
  private final Settings settings;

  /**
   * How steps are made.
   *
   * @param padId that padding is trained on, where it is
   */
  record Settings(TrlxCompat version, TrlxPlaces places, int padId, TrlxMiniBatch.Settings loss) {}

  /** Steps of networks, all parts the caller's; {@code parts} are those of the optimization. */
  TrlxStep(
      Torch torch,
      PpoNetworks networks,
      Optimization optimization,
      List<Optimization.Part> parts,
      Settings settings) {
    this.torch = torch;
    this.networks = networks;
    this.optimization = optimization;
    this.parts = parts;
    this.settings = settings;
  }

  /**
   * Sums the gradients of the micro-batches and moves the weights once.
   *
   * @param samples of the roll-out
   * @param microBatches places in them
   * @param guard looks at what was found, and says whether to move the weights
   * @throws RlhfException if the loss or the gradients are not finite; then nothing is moved
   */
  PpoStep.Outcome run(
      List<Experience> samples, List<int[]> microBatches, Predicate<Map<String, Double>> guard) {
    networks.policy().startStep(optimization.steps());
    try (TensorScope scope = torch.scope()) {
      List<Gradients> gradients = new ArrayList<>();
      for (Optimization.Part part : parts) {
        gradients.add(new Gradients(torch.ops(), scope, part.weights()));
      }
      double loss = 0;
      long computed = 0;
      Map<String, Double> figures = new LinkedHashMap<>();
      for (int[] places : microBatches) {
        TrlxMiniBatch miniBatch =
            new TrlxMiniBatch(
                settings.version,
                settings.places,
                settings.padId,
                Arrays.stream(places).mapToObj(samples::get).map(TrlxSample::of).toList(),
                settings.loss);
        List<TrlxMiniBatch.Loss> found = new ArrayList<>();
        float[] entropies =
            networks.addGradients(
                miniBatch.batch(),
                null,
                (logProbs, values) -> {
                  found.add(miniBatch.loss(logProbs, values, settings.loss));
                  return found.get(0).terms();
                },
                gradients);
        double entropy = 0;
        for (float each : entropies) {
          entropy += (double) each / entropies.length;
        }
        double share = 1.0 / microBatches.size();
        loss += share * found.get(0).loss();
        found
            .get(0)
            .statistics()
            .forEach(
                (name, number) -> {
                  if (NAMES.containsKey(name)) {
                    figures.merge(NAMES.get(name), share * number, Double::sum);
                  }
                });
        figures.merge(MetricNames.POLICY_ENTROPY, share * entropy, Double::sum);
        computed += miniBatch.batch().tokens();
      }
      figures.put(MetricNames.RATIO_VARIANCE, figures.get(MetricNames.RATIO));
      if (!Double.isFinite(loss)) {
        throw RlhfException.nonFinite(
            "the loss is " + loss + " at step " + (optimization.steps() + 1));
      }
      Optimization.Update update = guard.test(figures) ? optimization.step(gradients) : null;
      return new PpoStep.Outcome(update, loss, computed, figures);
    }
  }
}
