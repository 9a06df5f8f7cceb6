package org.rlhf4j.ppo;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.model.TokenBatch.PlacedRow;
import org.rlhf4j.ppo.rollout.Lengths;
import org.rlhf4j.ppo.rollout.Spread;

/**
 * What trlX takes one step on: advantages are estimated on rows padded with zeros and whitened over
 * all of them, padding included. Only tokens that count in the loss are computed.
 */
final class TrlxMiniBatch {
  private final TrlxCompat version;
  private final List<TrlxSample> samples;
  private final int width;

  /** Tokens of each sample that count in the loss. */
  private final int[] counted;

  private final TokenBatch batch;
  private final double[] oldLogProbs;
  private final double[] oldValues;
  private final double[] advantages;
  private final double[] returns;

  /**
   * Settings of the loss.
   *
   * @param valueWeight vf_coef
   */
  record Settings(
      double gamma, double lambda, double cliprange, double cliprangeValue, double valueWeight) {}

  /**
   * What a step saw.
   *
   * @param terms the derivatives with respect to log-probabilities and values
   * @param statistics under trlX's names
   */
  record Loss(double loss, PpoNetworks.Terms terms, Map<String, Double> statistics) {}

  TrlxMiniBatch(
      TrlxCompat version,
      TrlxPlaces places,
      int padId,
      List<TrlxSample> samples,
      Settings settings) {
    this.version = version;
    this.samples = List.copyOf(samples);
    this.width = samples.stream().mapToInt(sample -> sample.rewards().length).max().orElseThrow();
    this.counted =
        samples.stream()
            .mapToInt(
                sample ->
                    version.trainsPadding()
                        ? Math.min(sample.response().length + 1, width)
                        : sample.response().length)
            .toArray();
    this.batch = batch(places, padId);
    double[][] estimated = new double[samples.size()][];
    double[][] wanted = new double[samples.size()][];
    for (int i = 0; i < estimated.length; i++) {
      TrlxSample sample = samples.get(i);
      Advantages.Estimate estimate =
          Advantages.gae(
              Arrays.copyOf(sample.rewards(), width),
              Arrays.copyOf(sample.values(), width),
              settings.gamma(),
              settings.lambda());
      estimated[i] = estimate.advantages();
      wanted[i] = estimate.returns();
    }
    this.advantages = counted(List.of(Whitening.whiten(estimated, true)));
    this.returns = counted(List.of(wanted));
    this.oldLogProbs = counted(samples.stream().map(TrlxSample::logProbs).toList());
    this.oldValues = counted(samples.stream().map(TrlxSample::values).toList());
  }

  private double[] counted(List<double[]> rows) {
    double[][] parts = new double[rows.size()][];
    Arrays.setAll(parts, i -> Arrays.copyOf(rows.get(i), counted[i]));
    return Arrays.stream(parts).flatMapToDouble(Arrays::stream).toArray();
  }

  private TokenBatch batch(TrlxPlaces places, int padId) {
    int promptWidth = samples.stream().mapToInt(TrlxSample::promptWidth).max().orElseThrow();
    List<PlacedRow> rows = new ArrayList<>();
    for (int i = 0; i < counted.length; i++) {
      if (counted[i] > 0) {
        int[] prompt = samples.get(i).prompt();
        int[] response = samples.get(i).response();
        int[] targets = Arrays.copyOf(response, counted[i]);
        if (counted[i] > response.length) {
          targets[response.length] = padId;
        }
        int[] ids = Arrays.copyOf(prompt, prompt.length + counted[i] - 1);
        System.arraycopy(targets, 0, ids, prompt.length, counted[i] - 1);
        rows.add(new PlacedRow(ids, targets, places.first(promptWidth - prompt.length), null));
      }
    }
    return TokenBatch.ofPlaced(rows);
  }

  /** The tokens that count in the loss are its targets. */
  TokenBatch batch() {
    return batch;
  }

  /**
   * The loss of what the networks now say of {@link #batch}.
   *
   * @param logProbs {@code [targets]}
   * @param values {@code [targets]}
   */
  Loss loss(float[] logProbs, float[] values, Settings settings) {
    int tokens = oldLogProbs.length;
    double[] newLogProbs = wide(logProbs);
    double[] newValues = wide(values);
    boolean[] all = new boolean[tokens];
    Arrays.fill(all, true);
    PpoLoss.Policy policy =
        PpoLoss.policy(
            newLogProbs, oldLogProbs, advantages, all, tokens, ClipRange.of(settings.cliprange()));
    PpoLoss.Value value =
        PpoLoss.value(newValues, oldValues, returns, all, tokens, settings.cliprangeValue());
    double loss = policy.loss() + settings.valueWeight() * value.loss();
    float[] ofLogProbs = new float[tokens];
    float[] ofValues = new float[tokens];
    double squares = 0;
    double relative = 0;
    for (int t = 0; t < tokens; t++) {
      ofLogProbs[t] = (float) policy.derivative()[t];
      ofValues[t] = (float) (settings.valueWeight() * value.derivative()[t]);
      double error = newValues[t] - returns[t];
      squares += error * error;
      relative += Math.abs(error) / Math.abs(returns[t] + 0.01);
    }
    int size = samples.size() * width;
    Map<String, Double> statistics = new LinkedHashMap<>();
    statistics.put("losses/total_loss", loss);
    statistics.put("losses/policy_loss", policy.loss());
    statistics.put("losses/value_loss", value.loss());
    addSpread(statistics, "values", newValues);
    addSpread(statistics, "old_values", oldValues);
    addSpread(statistics, "returns", returns);
    statistics.put("values/values_error", squares / tokens);
    statistics.put("values/clipfrac", value.clippedShare());
    statistics.put("policy/approx_kl", policy.ratios().approxKl() * tokens / size);
    statistics.put("policy/clipfrac", policy.ratios().clippedShare());
    statistics.put("ratio", policy.ratios().mean());
    double share = (double) tokens / size;
    if (version == TrlxCompat.HEAD) {
      statistics.put("values/values_mape_error", relative / tokens);
      statistics.put("padding_percentage", 1 - share);
    } else {
      statistics.put("padding_percentage", share);
    }
    PpoNetworks.Terms terms = new PpoNetworks.Terms(ofLogProbs, new float[0], ofValues);
    return new Loss(loss, terms, statistics);
  }

  private static void addSpread(Map<String, Double> statistics, String name, double[] numbers) {
    Spread spread = Spread.of(numbers);
    statistics.put(name + "/mean", spread.mean());
    statistics.put(name + "/min", Arrays.stream(numbers).min().orElseThrow());
    statistics.put(name + "/max", Arrays.stream(numbers).max().orElseThrow());
    statistics.put(name + "/std", Math.sqrt(spread.biasedVariance()));
  }

  private double[] wide(float[] numbers) {
    Lengths.require("numbers", numbers.length, oldLogProbs.length);
    double[] wide = new double[numbers.length];
    Arrays.setAll(wide, i -> numbers[i]);
    return wide;
  }
}
