package org.rlhf4j.core.generate;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.torch.TensorScope;

/**
 * Sampling as its definition says, one sequence at a time: every token from a fresh pass over the
 * whole sequence without a cache, filters and the inverse of the distribution function in plain
 * double arithmetic. Shares nothing with the generator but the model's full pass and the uniforms.
 */
final class SlowSampling {
  private final CausalLm model;
  private final SamplingConfig config;
  private final int[] eosIds;

  SlowSampling(CausalLm model, SamplingConfig config, int... eosIds) {
    this.model = model;
    this.config = config;
    this.eosIds = eosIds;
  }

  /** The tokens of a sample, and their log-probabilities. */
  record Sample(int[] tokens, double[] logProbs, FinishReason finished) {}

  Sample sample(PromptRow prompt, int number, long seed, long round) {
    int[] ids = prompt.ids().clone();
    int promptLength = ids.length;
    double[] logProbs = new double[config.maxNewTokens()];
    FinishReason finished = null;
    while (finished == null) {
      int position = ids.length - promptLength;
      double[] own = logits(ids);
      double[] processed = own.clone();
      punish(processed, ids, position);
      int token;
      if (config.doSample()) {
        double[] p = filtered(processed);
        long sample = prompt.index() * (1L << 20) + number;
        double u = CounterRandom.uniform(seed, RandomStream.SAMPLING, round, sample, position);
        token = inverse(p, u);
        logProbs[position] = Math.log(p[token]);
      } else {
        token = best(processed);
        logProbs[position] = Math.log(softmax(own)[token]);
      }
      ids = Arrays.copyOf(ids, ids.length + 1);
      ids[ids.length - 1] = token;
      if (!config.ignoreEos() && IntStream.of(eosIds).anyMatch(eos -> eos == token)) {
        finished = FinishReason.EOS;
      } else if (position + 1 == config.maxNewTokens()
          || ids.length == model.decoder().spec().maxPositions()) {
        finished = FinishReason.LENGTH;
      }
    }
    int count = ids.length - promptLength;
    return new Sample(
        Arrays.copyOfRange(ids, promptLength, ids.length),
        Arrays.copyOf(logProbs, count),
        finished);
  }

  private double[] logits(int[] ids) {
    try (TensorScope scope = model.torch().scope()) {
      TokenBatch batch = TokenBatch.ofLastTokens(List.of(ids));
      float[] found =
          model
              .head()
              .logits(scope, model.decoder().forward(scope, batch, Recording.NONE).hidden())
              .toFloats();
      return IntStream.range(0, found.length).mapToDouble(i -> found[i]).toArray();
    }
  }

  private void punish(double[] logits, int[] ids, int position) {
    Arrays.stream(ids)
        .distinct()
        .forEach(
            id ->
                logits[id] =
                    logits[id] > 0
                        ? logits[id] / config.repetitionPenalty()
                        : logits[id] * config.repetitionPenalty());
    int n = config.noRepeatNgramSize();
    for (int start = 0; n > 0 && start + n <= ids.length; start++) {
      if (Arrays.equals(ids, start, start + n - 1, ids, ids.length - n + 1, ids.length)) {
        logits[ids[start + n - 1]] = Double.NEGATIVE_INFINITY;
      }
    }
    boolean noEnd = config.suppressEos() || position < config.minNewTokens();
    for (int eos : eosIds) {
      if (noEnd && !config.ignoreEos()) {
        logits[eos] = Double.NEGATIVE_INFINITY;
      }
    }
  }

  private double[] filtered(double[] logits) {
    double[] x = Arrays.stream(logits).map(v -> v / config.temperature()).toArray();
    Integer[] order = new Integer[x.length];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, (a, b) -> Double.compare(x[b], x[a]));
    if (config.topK() > 0 && config.topK() < x.length) {
      double least = x[order[config.topK() - 1]];
      for (int i = 0; i < x.length; i++) {
        x[i] = x[i] < least ? Double.NEGATIVE_INFINITY : x[i];
      }
    }
    if (config.topP() < 1) {
      double[] p = softmax(x);
      double before = 0;
      for (int id : order) {
        double share = p[id];
        x[id] = before >= config.topP() ? Double.NEGATIVE_INFINITY : x[id];
        before += share;
      }
    }
    if (config.minP() > 0) {
      double[] p = softmax(x);
      double most = Arrays.stream(p).max().orElseThrow();
      for (int i = 0; i < x.length; i++) {
        x[i] = p[i] < config.minP() * most ? Double.NEGATIVE_INFINITY : x[i];
      }
    }
    return softmax(x);
  }

  private static double[] softmax(double[] x) {
    double most = Arrays.stream(x).max().orElseThrow();
    double[] p = Arrays.stream(x).map(v -> Math.exp(v - most)).toArray();
    double total = Arrays.stream(p).sum();
    return Arrays.stream(p).map(v -> v / total).toArray();
  }

  private static int inverse(double[] p, double u) {
    double reached = 0;
    for (int i = 0; i < p.length; i++) {
      reached += p[i];
      if (reached > u) {
        return i;
      }
    }
    throw new IllegalStateException("the probabilities add up to " + reached);
  }

  private static int best(double[] x) {
    int best = 0;
    for (int i = 1; i < x.length; i++) {
      best = x[i] > x[best] ? i : best;
    }
    return best;
  }
}
