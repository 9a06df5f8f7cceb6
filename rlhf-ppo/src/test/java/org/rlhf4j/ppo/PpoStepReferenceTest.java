package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.rlhf4j.ppo.group.GroupRuns.column;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorInfo;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.testing.TestTokenizers;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.group.GroupRuns;
import org.rlhf4j.ppo.rollout.Floats;

/**
 * Two roll-outs with two steps each against the formulas of the papers and {@link SlowLlama}, in
 * doubles: rewards, losses, the gradient of every tensor, and where the weights go.
 */
class PpoStepReferenceTest {
  private static final int SIZE = 8;
  private static final double RATE = 1e-2;
  private static final double VALUE_RATE = 3e-3;
  private static final double KL_COEF = 0.5;
  private static final double KL_TARGET = 0.05;
  private static final double KL_HORIZON = 20;
  private static final double GAMMA = 0.9;
  private static final double LAMBDA = 0.7;
  private static final double CLIP = 0.1;
  private static final double VALUE_CLIP = 0.05;
  private static final double DUAL_CLIP = 1.02;
  private static final double VALUE_COEF = 0.5;
  private static final double ENTROPY_COEF = 0.1;

  @TempDir Path temporary;
  private Path model;
  private Path output;
  private double temperature;
  private String more;
  private Map<String, double[]> start;
  private final List<Completion> completions = new ArrayList<>();
  private final List<Double> scores = new ArrayList<>();

  /** Keeps the roll-outs; some responses are asked for again, by themselves. */
  private double[] reward(List<Completion> asked) {
    double[] found = GroupRuns.SMALL_IDS.rewards(asked);
    for (int i = 0; i < found.length && asked.size() > 1; i++) {
      completions.add(asked.get(i));
      scores.add(found[i]);
    }
    return found;
  }

  @ParameterizedTest
  @CsvSource({
    "policy_head, 1, num_layers_unfrozen=-1;num_ppo_epochs=2;per_device_train_batch_size=4",
    "reference_branch, 1, num_layers_unfrozen=1;num_value_layers_unfrozen=1;kl_estimator=k3;"
        + "mini_batch_size=4",
    "separate, 0.7, num_layers_unfrozen=1;num_ppo_epochs=2;whiten_rewards=true;"
        + "cliprange_reward=0.3;missing_eos_penalty=0.2;length_penalty=0.01"
  })
  void stepsAreThoseOfThePapers(String network, double divisor, String keys) throws IOException {
    temperature = divisor;
    more = keys;
    model = TinyModel.causalLm(temporary.resolve("model"), 1);
    startValues(network);
    start = read(model);
    output = temporary.resolve("out");
    List<Map<String, Object>> metrics =
        new PpoTrainer(builder(network).build(), RunContext.silent(), this::reward).train();
    assertEquals(2 * SIZE, scores.size());
    double coefficient = KL_COEF;
    double losses = 0;
    double unbounded = 0;
    for (int rollout = 0; rollout < 2; rollout++) {
      List<Sample> samples = samples(rollout, coefficient);
      assertRollout(metrics, rollout, coefficient, samples);
      double kl = mean(samples.stream().mapToDouble(Sample::kl).toArray());
      double error = Math.min(0.2, Math.max(-0.2, kl / KL_TARGET - 1));
      coefficient *= 1 + error * SIZE / KL_HORIZON;
      for (int step = 2 * rollout; step < 2 * rollout + 2; step++) {
        List<Sample> chosen = samples;
        if (more.contains("mini_batch_size=4")) {
          chosen = samples.subList(step % 2 * 4, step % 2 * 4 + 4);
        }
        assertStep(metrics, step, chosen);
        losses += loss(weights(step), chosen, DUAL_CLIP).total();
        unbounded += loss(weights(step), chosen, Double.POSITIVE_INFINITY).total();
      }
    }
    assertTrue(unbounded > losses + 1e-3, "the steps must show the dual clip");
    for (String share : List.of("policy/clipfrac_avg", "val/clipfrac_avg")) {
      double sum = column(metrics, share).stream().mapToDouble(Double::doubleValue).sum();
      assertTrue(sum > 0, "the steps must show " + share);
    }
  }

  private ConfigBuilder<PpoConfig> builder(String network) throws IOException {
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < SIZE; i++) {
      rows.add("{\"prompt\": \"Say %s\"}".formatted("so ".repeat(i % 3)));
    }
    ConfigBuilder<PpoConfig> builder =
        Config.of(PpoConfig.class)
            .set("model_name_or_path", model.toString())
            .set("dataset_path", Files.write(temporary.resolve("rows.jsonl"), rows).toString())
            .set("output_dir", output.toString())
            .set("dtype", "fp32")
            .set("learning_rate", RATE)
            .set("value_learning_rate", VALUE_RATE)
            .set("max_grad_norm", 0)
            .set("max_length", 64)
            .set("max_new_tokens", 5)
            .set("temperature", temperature)
            .set("rollout_batch_size", SIZE)
            .set("mini_batch_size", SIZE)
            .set("num_ppo_epochs", 1)
            .set("total_episodes", 2 * SIZE)
            .set("shuffle_dataset", false)
            .set("value_network", network)
            .set("kl_coef", KL_COEF)
            .set("adaptive_kl_target", KL_TARGET)
            .set("adaptive_kl_horizon", KL_HORIZON)
            .set("gamma", GAMMA)
            .set("lam", LAMBDA)
            .set("cliprange", CLIP)
            .set("cliprange_value", VALUE_CLIP)
            .set("dual_clip", DUAL_CLIP)
            .set("vf_coef", VALUE_COEF)
            .set("entropy_coef", ENTROPY_COEF)
            .set("logging_steps", 1)
            .set("save_steps", 1)
            .set("save_total_limit", 0);
    Arrays.stream(more.split(";")).forEach(pair -> set(builder, pair.split("=")));
    return builder;
  }

  private static void set(ConfigBuilder<PpoConfig> builder, String[] pair) {
    builder.set(pair[0], pair[1]);
  }

  /** A value network to begin with, so that its values are known before the first step. */
  private void startValues(String network) throws IOException {
    Random random = new Random(3);
    List<TensorSource> sources = new ArrayList<>();
    if (!network.equals("separate")) {
      sources.add(drawn(random, "v_head.0.weight", 32, 16));
      sources.add(drawn(random, "v_head.0.bias", 32));
      sources.add(drawn(random, "v_head.2.weight", 1, 32));
      sources.add(drawn(random, "v_head.2.bias", 1));
    }
    if (!network.equals("policy_head")) {
      Path other = TinyModel.rewardModel(temporary.resolve("other"), 2);
      SafetensorsFile file = SafetensorsFile.open(other.resolve("model.safetensors"));
      for (TensorInfo tensor : file.tensors()) {
        String name = tensor.name();
        boolean isTop = name.startsWith("model.layers.1.") || name.equals("model.norm.weight");
        if (isTop || network.equals("separate")) {
          sources.add(TensorSource.copyOf(file, name).renamed("value." + name));
        }
      }
    }
    Path file = model.resolve(PpoNetworks.VALUE_FILE);
    SafetensorsWriter.write(file, sources, SafetensorsWriter.PYTORCH_METADATA);
  }

  private static TensorSource drawn(Random random, String name, long... shape) {
    float[] values = new float[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
    for (int i = 0; i < values.length; i++) {
      values[i] = 0.3f * (float) random.nextGaussian();
    }
    return TensorSource.floats(name, StoredType.F32, shape, values);
  }

  /** All that is trained, and the frozen rest, after so many steps. */
  private Map<String, double[]> weights(int steps) {
    return steps == 0 ? start : read(output.resolve("checkpoint-" + steps));
  }

  private Map<String, double[]> read(Path folder) {
    Map<String, double[]> weights = tensors(folder.resolve("model.safetensors"), "");
    weights.putAll(tensors(folder.resolve(PpoNetworks.VALUE_FILE), ""));
    if (more.contains("num_layers_unfrozen=1")) {
      // The head of a policy whose embedding is frozen is a copy.
      weights.putIfAbsent("lm_head.weight", weights.get("model.embed_tokens.weight"));
    }
    return weights;
  }

  private static Map<String, double[]> tensors(Path path, String prefix) {
    SafetensorsFile file = SafetensorsFile.open(path);
    Map<String, double[]> tensors = new TreeMap<>();
    for (TensorInfo tensor : file.tensors()) {
      String name = tensor.name();
      if (name.startsWith(prefix)) {
        double[] wide = Floats.wide(file.readFloats(name));
        tensors.put(name.substring(prefix.length()), wide);
      }
    }
    return tensors;
  }

  /** What the networks say of a response's tokens, each {@code [tokens]}. */
  private record Said(double[] logProbs, double[] entropies, double[] values) {}

  private Said said(Map<String, double[]> weights, Completion response) {
    int[] prompt = response.promptIds();
    int[] ids = Arrays.copyOf(prompt, prompt.length + response.ids().length);
    System.arraycopy(response.ids(), 0, ids, prompt.length, response.ids().length);
    SlowLlama policy = new SlowLlama(weights);
    double[][] hidden = policy.hidden(ids);
    double[][] read = hidden;
    SlowLlama critic = policy;
    if (weights.keySet().stream().anyMatch(name -> name.startsWith("value."))) {
      // What the value network has not of its own is the frozen reference's.
      Map<String, double[]> own = new HashMap<>(start);
      weights.forEach(
          (name, values) -> {
            if (name.startsWith("value.") || name.startsWith("v_head.")) {
              own.put(name.replace("value.", ""), values);
            }
          });
      critic = new SlowLlama(own);
      read = critic.hidden(ids);
    }
    Said said =
        new Said(
            new double[response.ids().length],
            new double[response.ids().length],
            new double[response.ids().length]);
    for (int t = 0; t < response.ids().length; t++) {
      int before = prompt.length + t - 1;
      double[] logProbs = policy.logProbs(hidden[before], temperature);
      said.logProbs[t] = logProbs[response.ids()[t]];
      said.entropies[t] = -Arrays.stream(logProbs).map(x -> x * Math.exp(x)).sum();
      said.values[t] = value(critic, read[before]);
    }
    return said;
  }

  private static double value(SlowLlama critic, double[] state) {
    if (critic.weights().containsKey("score.weight")) {
      return critic.times("score.weight", state)[0];
    }
    double[] inner = critic.times("v_head.0.weight", state);
    double[] bias = critic.weights().get("v_head.0.bias");
    for (int i = 0; i < inner.length; i++) {
      inner[i] = Math.max(0, inner[i] + bias[i]);
    }
    return critic.times("v_head.2.weight", inner)[0] + critic.weights().get("v_head.2.bias")[0];
  }

  /** What the losses need of a response. */
  private record Sample(
      Completion response,
      Said before,
      double kl,
      double[] rewards,
      double[] advantages,
      double[] returns) {}

  private List<Sample> samples(int rollout, double coefficient) {
    List<Completion> drawn = completions.subList(rollout * SIZE, (rollout + 1) * SIZE);
    List<Said> before = drawn.stream().map(one -> said(weights(2 * rollout), one)).toList();
    double[] kls = new double[SIZE];
    double[][] rewards = new double[SIZE][];
    for (int i = 0; i < SIZE; i++) {
      double[] logProbs = before.get(i).logProbs;
      double[] reference = said(start, drawn.get(i)).logProbs;
      rewards[i] = new double[logProbs.length];
      for (int t = 0; t < logProbs.length; t++) {
        double d = logProbs[t] - reference[t];
        kls[i] += d;
        double penalty = more.contains("kl_estimator=k3") ? Math.exp(-d) - 1 + d : d;
        rewards[i][t] = -coefficient * penalty;
      }
      rewards[i][logProbs.length - 1] += score(rollout * SIZE + i);
    }
    if (more.contains("whiten_rewards=true")) {
      rewards = whitened(rewards, mean(Numbers.flat(rewards)));
    }
    double[][] advantages = new double[SIZE][];
    double[][] returns = new double[SIZE][];
    for (int i = 0; i < SIZE; i++) {
      double[] values = before.get(i).values;
      advantages[i] = new double[values.length];
      returns[i] = new double[values.length];
      // Schulman et al. (2016), equation 16, as the sum that it is.
      for (int t = 0; t < values.length; t++) {
        for (int l = 0; t + l < values.length; l++) {
          double next = t + l + 1 < values.length ? values[t + l + 1] : 0;
          double delta = rewards[i][t + l] + GAMMA * next - values[t + l];
          advantages[i][t] += Math.pow(GAMMA * LAMBDA, l) * delta;
        }
        returns[i][t] = advantages[i][t] + values[t];
      }
    }
    advantages = whitened(advantages, 0);
    List<Sample> samples = new ArrayList<>();
    for (int i = 0; i < SIZE; i++) {
      samples.add(
          new Sample(drawn.get(i), before.get(i), kls[i], rewards[i], advantages[i], returns[i]));
    }
    return samples;
  }

  private double score(int place) {
    double score = scores.get(place);
    if (more.contains("length_penalty")) {
      int[] ids = completions.get(place).ids();
      boolean ended = ids[ids.length - 1] == TestTokenizers.EOS;
      score = Math.min(score, 0.3) - (ended ? 0 : 0.2) - 0.01 * ids.length;
    }
    return score;
  }

  private static double mean(double[] values) {
    return Arrays.stream(values).sum() / values.length;
  }

  /** Over all tokens, the variance with divisor n - 1. */
  private static double[][] whitened(double[][] rows, double newMean) {
    double[] all = Numbers.flat(rows);
    double mean = mean(all);
    double squares = Arrays.stream(all).map(x -> (x - mean) * (x - mean)).sum();
    double deviation = Math.sqrt(squares / (all.length - 1) + 1e-8);
    double[][] whitened = new double[rows.length][];
    for (int i = 0; i < rows.length; i++) {
      whitened[i] = Arrays.stream(rows[i]).map(x -> (x - mean) / deviation + newMean).toArray();
    }
    return whitened;
  }

  private static void assertRollout(
      List<Map<String, Object>> metrics, int rollout, double coefficient, List<Sample> samples) {
    double kl = mean(samples.stream().mapToDouble(Sample::kl).toArray());
    assertEquals(kl, column(metrics, "objective/kl").get(rollout), 1e-5);
    assertTrue(rollout == 0 || Math.abs(kl) > 0.01, "the policy must have moved");
    assertEquals(coefficient, column(metrics, "objective/kl_coef").get(rollout), 1e-6);
  }

  private record Loss(double total, double policy, double value, double entropy) {}

  private Loss loss(Map<String, double[]> weights, List<Sample> samples, double dualClip) {
    int tokens = samples.stream().mapToInt(sample -> sample.returns.length).sum();
    double policy = 0;
    double value = 0;
    double entropy = 0;
    for (Sample sample : samples) {
      Said now = said(weights, sample.response);
      Said old = sample.before;
      for (int t = 0; t < sample.returns.length; t++) {
        double ratio = Math.exp(now.logProbs[t] - old.logProbs[t]);
        double advantage = sample.advantages[t];
        double bounded = Math.min(Math.max(ratio, 1 - CLIP), 1 + CLIP);
        double gain = Math.min(ratio * advantage, bounded * advantage);
        // Ye et al. (2020), equation 5.
        policy -= (advantage < 0 ? Math.max(gain, dualClip * advantage) : gain) / tokens;
        double low = old.values[t] - VALUE_CLIP;
        double near = Math.min(Math.max(now.values[t], low), old.values[t] + VALUE_CLIP);
        double free = Math.pow(now.values[t] - sample.returns[t], 2);
        value += 0.5 * Math.max(free, Math.pow(near - sample.returns[t], 2)) / tokens;
        entropy += now.entropies[t] / tokens;
      }
    }
    double total = policy + VALUE_COEF * value - ENTROPY_COEF * entropy;
    return new Loss(total, policy, value, entropy);
  }

  private void assertStep(List<Map<String, Object>> metrics, int step, List<Sample> samples) {
    Map<String, double[]> weights = weights(step);
    Loss loss = loss(weights, samples, DUAL_CLIP);
    assertEquals(loss.total, column(metrics, "loss").get(step), 1e-5, "step " + step);
    assertEquals(loss.policy, column(metrics, "loss/policy_avg").get(step), 1e-5);
    assertEquals(loss.value, column(metrics, "loss/value_avg").get(step), 1e-5);
    assertEquals(loss.entropy, column(metrics, "policy/entropy_avg").get(step), 1e-5);
    Map<String, double[]> gradients = gradients(step);
    double norm = norm(Numbers.flat(gradients.values().toArray(double[][]::new)));
    assertEquals(norm, column(metrics, "grad_norm").get(step), 1e-4 * norm);
    // With the KL in the rewards, and ratios that are not 1.
    Map<String, double[]> compared = step == 3 ? gradients : Map.of();
    compared.forEach(
        (name, gradient) -> {
          double found = norm(gradient);
          double slope = slope(weights, name, unit(gradient), samples);
          assertEquals(slope, found, 1e-3 * found + 1e-6, "step " + step + ", " + name);
          // A gradient with parts left out has its own slope, too.
          double[] anywhere = unit(new Random(step).doubles(gradient.length, -1, 1).toArray());
          double along = 0;
          for (int i = 0; i < gradient.length; i++) {
            along += anywhere[i] * gradient[i];
          }
          assertEquals(
              slope(weights, name, anywhere, samples),
              along,
              1e-3 * found + 1e-6,
              "step " + step + ", " + name + ", along another direction");
        });
    if (step == 0) {
      Map<String, double[]> after = weights(1);
      gradients.forEach((name, of) -> assertMoved(name, weights.get(name), of, after.get(name)));
    }
  }

  /** A step's gradients, told by Adam's first moments before and after it. */
  private Map<String, double[]> gradients(int step) {
    Map<String, double[]> gradients = moments(step + 1);
    Map<String, double[]> before = step == 0 ? Map.of() : moments(step);
    gradients.forEach(
        (name, moment) -> {
          for (int i = 0; i < moment.length; i++) {
            double kept = step == 0 ? 0 : 0.9 * before.get(name)[i];
            moment[i] = (moment[i] - kept) / (1 - 0.9);
          }
        });
    return gradients;
  }

  private Map<String, double[]> moments(int steps) {
    return tensors(output.resolve("checkpoint-" + steps + "/optimizer.safetensors"), "exp_avg.");
  }

  private static double norm(double[] vector) {
    return Math.sqrt(Arrays.stream(vector).map(x -> x * x).sum());
  }

  private static double[] unit(double[] vector) {
    double norm = norm(vector);
    return Arrays.stream(vector).map(x -> x / norm).toArray();
  }

  /**
   * How fast the loss rises along a direction: along a tensor's gradient by the gradient's norm.
   */
  private double slope(
      Map<String, double[]> weights, String name, double[] direction, List<Sample> samples) {
    double width = 1e-6;
    double[] losses = new double[2];
    for (int side = 0; side < 2; side++) {
      double[] moved = weights.get(name).clone();
      for (int i = 0; i < moved.length; i++) {
        moved[i] += (2 * side - 1) * width * direction[i];
      }
      Map<String, double[]> there = new HashMap<>(weights);
      there.put(name, moved);
      losses[side] = loss(there, samples, DUAL_CLIP).total;
    }
    return (losses[1] - losses[0]) / (2 * width);
  }

  /** AdamW's first step: by the learning rate, against the gradient. */
  private static void assertMoved(String name, double[] before, double[] gradient, double[] after) {
    double rate = name.startsWith("v_head.") || name.startsWith("value.") ? VALUE_RATE : RATE;
    for (int i = 0; i < before.length; i++) {
      double moved = rate * gradient[i] / (Math.abs(gradient[i]) + 1e-8);
      // In an fp32 weight of about 1.
      assertEquals(before[i] - moved, after[i], 1e-6 + 1e-3 * rate, name + " " + i);
    }
  }
}
