package org.rlhf4j.ppo;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.checkpoint.TensorInfo;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.ppo.rollout.Floats;

/**
 * The model of {@link org.rlhf4j.core.testing.TinyModel} in plain loops of doubles: what the
 * networks compute, written down a second time and without a tensor library.
 *
 * @param weights by Hugging Face's names; without {@code lm_head.weight} the head is the embedding
 */
public record SlowLlama(Map<String, double[]> weights) {
  private static final int WIDTH = 16;
  private static final int HEADS = 4;
  private static final int HEAD_WIDTH = WIDTH / HEADS;
  private static final int HEADS_PER_KEY = 2;
  private static final int LAYERS = 2;
  private static final double EPSILON = 1e-5;
  private static final double THETA = 10_000;

  /** The weights of a folder. */
  public static SlowLlama read(Path folder) {
    SafetensorsFile file = SafetensorsFile.open(folder.resolve("model.safetensors"));
    Map<String, double[]> weights = new HashMap<>();
    for (TensorInfo tensor : file.tensors()) {
      weights.put(tensor.name(), Floats.wide(file.readFloats(tensor.name())));
    }
    return new SlowLlama(weights);
  }

  /** The log-probabilities of a row's targets, logits divided by the temperature. */
  public double[] logProbs(TokenRow row, double temperature) {
    double[][] states = hidden(row.ids());
    double[] found = new double[row.targetCount()];
    for (int t = 0; t < found.length; t++) {
      int place = row.firstTarget() + t;
      found[t] = logProbs(states[place - 1], temperature)[row.ids()[place]];
    }
    return found;
  }

  /** The states behind the final norm, {@code [tokens][width]}. */
  double[][] hidden(int[] ids) {
    double[] embedding = weights.get("model.embed_tokens.weight");
    double[][] states = new double[ids.length][];
    for (int t = 0; t < ids.length; t++) {
      states[t] = Arrays.copyOfRange(embedding, ids[t] * WIDTH, (ids[t] + 1) * WIDTH);
    }
    for (int layer = 0; layer < LAYERS; layer++) {
      String prefix = "model.layers." + layer + ".";
      double[][] attended = attention(prefix, normed(prefix + "input_layernorm.weight", states));
      states = sum(states, attended);
      double[][] inner = normed(prefix + "post_attention_layernorm.weight", states);
      states = sum(states, mlp(prefix, inner));
    }
    return normed("model.norm.weight", states);
  }

  /** The words' log-probabilities behind a state, its logits divided by the temperature. */
  public double[] logProbs(double[] state, double temperature) {
    String head = weights.containsKey("lm_head.weight") ? "lm_head" : "model.embed_tokens";
    double[] logits = times(head + ".weight", state);
    double sum = 0;
    for (int word = 0; word < logits.length; word++) {
      logits[word] /= temperature;
      sum += Math.exp(logits[word]);
    }
    for (int word = 0; word < logits.length; word++) {
      logits[word] -= Math.log(sum);
    }
    return logits;
  }

  /** A matrix, stored row by row, times a vector. */
  double[] times(String name, double[] vector) {
    double[] matrix = weights.get(name);
    double[] product = new double[matrix.length / vector.length];
    for (int row = 0; row < product.length; row++) {
      for (int i = 0; i < vector.length; i++) {
        product[row] += matrix[row * vector.length + i] * vector[i];
      }
    }
    return product;
  }

  private double[][] normed(String name, double[][] states) {
    double[] scale = weights.get(name);
    double[][] normed = new double[states.length][WIDTH];
    for (int t = 0; t < states.length; t++) {
      double squares = 0;
      for (double x : states[t]) {
        squares += x * x;
      }
      for (int i = 0; i < WIDTH; i++) {
        normed[t][i] = scale[i] * states[t][i] / Math.sqrt(squares / WIDTH + EPSILON);
      }
    }
    return normed;
  }

  private static double[][] sum(double[][] one, double[][] other) {
    double[][] sum = new double[one.length][WIDTH];
    for (int t = 0; t < sum.length; t++) {
      for (int i = 0; i < WIDTH; i++) {
        sum[t][i] = one[t][i] + other[t][i];
      }
    }
    return sum;
  }

  private double[][] attention(String prefix, double[][] states) {
    double[][] queries = new double[states.length][];
    double[][] keys = new double[states.length][];
    double[][] values = new double[states.length][];
    double[][] attended = new double[states.length][];
    for (int t = 0; t < states.length; t++) {
      queries[t] = rotated(times(prefix + "self_attn.q_proj.weight", states[t]), t);
      keys[t] = rotated(times(prefix + "self_attn.k_proj.weight", states[t]), t);
      values[t] = times(prefix + "self_attn.v_proj.weight", states[t]);
      double[] mixed = new double[WIDTH];
      for (int head = 0; head < HEADS; head++) {
        int from = head / HEADS_PER_KEY * HEAD_WIDTH;
        double[] shares = new double[t + 1];
        double total = 0;
        for (int s = 0; s <= t; s++) {
          double score = 0;
          for (int i = 0; i < HEAD_WIDTH; i++) {
            score += queries[t][head * HEAD_WIDTH + i] * keys[s][from + i];
          }
          shares[s] = Math.exp(score / Math.sqrt(HEAD_WIDTH));
          total += shares[s];
        }
        for (int s = 0; s <= t; s++) {
          for (int i = 0; i < HEAD_WIDTH; i++) {
            mixed[head * HEAD_WIDTH + i] += shares[s] / total * values[s][from + i];
          }
        }
      }
      attended[t] = times(prefix + "self_attn.o_proj.weight", mixed);
    }
    return attended;
  }

  /** Su et al. (2021), the first half of a head's numbers paired with the second. */
  private static double[] rotated(double[] heads, int position) {
    double[] rotated = new double[heads.length];
    int half = HEAD_WIDTH / 2;
    for (int from = 0; from < heads.length; from += HEAD_WIDTH) {
      for (int i = 0; i < half; i++) {
        double angle = position * Math.pow(THETA, -2.0 * i / HEAD_WIDTH);
        double one = heads[from + i];
        double other = heads[from + half + i];
        rotated[from + i] = one * Math.cos(angle) - other * Math.sin(angle);
        rotated[from + half + i] = other * Math.cos(angle) + one * Math.sin(angle);
      }
    }
    return rotated;
  }

  private double[][] mlp(String prefix, double[][] states) {
    double[][] results = new double[states.length][];
    for (int t = 0; t < states.length; t++) {
      double[] gate = times(prefix + "mlp.gate_proj.weight", states[t]);
      double[] up = times(prefix + "mlp.up_proj.weight", states[t]);
      for (int i = 0; i < up.length; i++) {
        up[i] *= gate[i] / (1 + Math.exp(-gate[i]));
      }
      results[t] = times(prefix + "mlp.down_proj.weight", up);
    }
    return results;
  }
}
