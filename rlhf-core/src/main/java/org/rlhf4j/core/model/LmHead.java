package org.rlhf4j.core.model;

import java.util.Map;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Kernels;
import org.rlhf4j.core.torch.Ops;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * The language-model head: from hidden states to log-probabilities of given targets and back. The
 * vocabulary is met in chunks of rows, so no {@code [rows, vocabulary]} matrix of a whole batch
 * lives.
 */
public final class LmHead implements AutoCloseable {
  /** Elements of the largest {@code [rows, vocabulary]} matrix. */
  private static final long LARGEST_CHUNK = 1L << 24;

  private static final ElementType[] FP32 = {ElementType.FP32};

  private final Kernels kernels;
  private final ElementType type;
  private final WeightPlaces.Place weight;
  private final WeightPlaces.Place bias;
  private final long chunk;
  private final TensorScope scope;

  /**
   * A head on the weights of a model: the embedding where it is tied, else the last matrix, and the
   * last vector where it has a bias.
   */
  LmHead(Torch torch, LmHeadSpec spec, WeightPlaces weights) {
    this(torch, spec, weights, LARGEST_CHUNK / weights.base().get(0).extent(0));
  }

  LmHead(Torch torch, LmHeadSpec spec, WeightPlaces weights, long chunk) {
    this.type = weights.base().type();
    this.chunk = Math.max(1, chunk);
    this.scope = torch.scope();
    int last = weights.parameters().size() - 1;
    this.bias =
        spec.bias()
            ? weights.at(last, 1)
            : WeightPlaces.frozen(torch.ops().convert(scope, scope.zeros(0), type));
    this.weight = weights.at(spec.tied() ? 0 : spec.bias() ? last - 1 : last, 1);
    this.kernels =
        Kernels.load(
            torch,
            "/org/rlhf4j/core/model/lm_head.torch",
            Map.of(
                "bf16",
                type == ElementType.BF16,
                "has_bias",
                spec.bias(),
                "softcap",
                spec.softcap()));
  }

  /**
   * What the head says of a batch's targets, all {@code [targets]}.
   *
   * @param logProbs log-probabilities in nats
   * @param correct 1 where the target is the most likely word, else 0; empty without statistics
   * @param entropies of the distributions, in nats; empty without statistics
   */
  public record Found(float[] logProbs, float[] correct, float[] entropies) {}

  /**
   * How a head is read.
   *
   * @param statistics whether accuracy and entropy are wanted too
   * @param temperature what the logits are divided by first
   */
  public record Reading(boolean statistics, double temperature) {
    /** The model's own distribution. */
    public static Reading plain(boolean statistics) {
      return new Reading(statistics, 1);
    }
  }

  /**
   * The gradient of what a head said.
   *
   * @param ofLogProbs d loss / d log-probability, {@code [targets]}
   * @param ofEntropies d loss / d entropy of each distribution, {@code [targets]}; empty where the
   *     loss does not look at them
   */
  public record OfTargets(float[] ofLogProbs, float[] ofEntropies) {
    /** Of log-probabilities alone. */
    public OfTargets(float[] ofLogProbs) {
      this(ofLogProbs, new float[0]);
    }
  }

  /** Fp32 logits, {@code [rows, vocabulary]}, of a few hidden states {@code [rows, hidden]}. */
  public Tensor logits(TensorScope scope, Tensor hidden) {
    return logits(scope, hidden, weight.tensor());
  }

  /**
   * As {@link #logits(TensorScope, Tensor)}, by the weight that {@link CausalLm#forDecoding} gives.
   */
  public Tensor logits(TensorScope scope, Tensor hidden, Tensor weight) {
    return kernels.call(scope, ElementType.FP32, "logits", hidden, weight, bias.tensor());
  }

  /** Its matrix for decoding, see {@link CausalLm#forDecoding}. */
  Tensor weightForDecoding(TensorScope scope, Ops ops, boolean copies) {
    return copies ? ops.byColumns(scope, weight.tensor()) : weight.tensor();
  }

  /**
   * Log-probabilities of targets.
   *
   * @param hidden {@code [targets, hidden]}
   * @param targets ids, {@code [targets]}
   */
  public Found logProbs(TensorScope scope, Tensor hidden, int[] targets, Reading reading) {
    Tensor[] found =
        kernels.callList(
            scope,
            FP32,
            "log_probs",
            hidden,
            weight.tensor(),
            bias.tensor(),
            scope.of(targets, targets.length),
            chunk,
            reading.statistics(),
            reading.temperature());
    return new Found(
        found[0].toFloats(),
        reading.statistics() ? found[1].toFloats() : new float[0],
        reading.statistics() ? found[2].toFloats() : new float[0]);
  }

  /**
   * Log-probabilities together with gradients, in one pass over the vocabulary.
   *
   * @param into where the gradient of the head's weight is added, where that is trained
   */
  public WithGradient logProbsWithGradient(
      TensorScope scope, Selected rows, OfTargets gradient, Gradients into, Reading reading) {
    ElementType[] types = {ElementType.FP32, type, ElementType.FP32, ElementType.FP32};
    Tensor[] found =
        kernels.callList(
            scope,
            types,
            "log_probs_with_gradient",
            rows.hidden(),
            weight.tensor(),
            bias.tensor(),
            scope.of(rows.targets(), rows.targets().length),
            scope.of(gradient.ofLogProbs(), gradient.ofLogProbs().length),
            scope.of(gradient.ofEntropies(), gradient.ofEntropies().length),
            gradient(scope, weight, into),
            gradient(scope, bias, into),
            chunk,
            reading.statistics(),
            reading.temperature());
    Found numbers =
        new Found(
            found[0].toFloats(),
            reading.statistics() ? found[2].toFloats() : new float[0],
            reading.statistics() ? found[3].toFloats() : new float[0]);
    return new WithGradient(numbers, found[1]);
  }

  /**
   * Log-probabilities that gradients may follow, see {@link #gradient}.
   *
   * @param logProbs {@code [targets]}
   */
  public record Opened(float[] logProbs, Tensor logSoftmax, Tensor logSumExp) {}

  /**
   * Log-probabilities for a loss whose derivative depends on them. Where all targets fit into one
   * chunk, what was computed is kept for the way back; else it will be computed again.
   */
  public Opened open(TensorScope scope, Selected rows, Reading reading) {
    int[] targets = rows.targets();
    if (targets.length > chunk) {
      Reading plain = new Reading(false, reading.temperature());
      float[] found = logProbs(scope, rows.hidden(), targets, plain).logProbs();
      return new Opened(found, null, null);
    }
    Tensor[] found =
        kernels.callList(
            scope,
            FP32,
            "log_probs_kept",
            rows.hidden(),
            weight.tensor(),
            bias.tensor(),
            scope.of(targets, targets.length),
            false,
            reading.temperature());
    return new Opened(found[0].toFloats(), found[1], found[2]);
  }

  /**
   * The way back from log-probabilities; can be gone once.
   *
   * @param opened of the same rows and reading
   * @param into where the gradient of the head's weight is added, where that is trained
   * @return the entropies where the reading asks for statistics, but not the accuracy
   */
  public WithGradient gradient(
      TensorScope scope,
      Selected rows,
      Opened opened,
      OfTargets gradient,
      Gradients into,
      Reading reading) {
    if (opened.logSoftmax() == null) {
      return logProbsWithGradient(scope, rows, gradient, into, reading);
    }
    Tensor[] found =
        kernels.callList(
            scope,
            new ElementType[] {type, ElementType.FP32},
            "of_rows",
            rows.hidden(),
            weight.tensor(),
            scope.of(rows.targets(), rows.targets().length),
            opened.logSoftmax(),
            opened.logSumExp(),
            scope.of(gradient.ofLogProbs(), gradient.ofLogProbs().length),
            scope.of(gradient.ofEntropies(), gradient.ofEntropies().length),
            gradient(scope, weight, into),
            gradient(scope, bias, into),
            reading.statistics(),
            reading.temperature());
    opened.logSoftmax().close();
    float[] entropies = reading.statistics() ? found[1].toFloats() : new float[0];
    return new WithGradient(new Found(opened.logProbs(), new float[0], entropies), found[0]);
  }

  /** The sum that a gradient is added to; empty for a weight that is frozen. */
  private static Tensor gradient(TensorScope scope, WeightPlaces.Place place, Gradients into) {
    return place.isTrained() ? into.dense(place.first()) : scope.zeros(0);
  }

  /** Hidden states {@code [targets, hidden]} and the ids that they predict. */
  public record Selected(Tensor hidden, int[] targets) {}

  /** Numbers, and d loss / d hidden {@code [targets, hidden]}. */
  public record WithGradient(Found found, Tensor ofHidden) {}

  @Override
  public void close() {
    kernels.close();
    scope.close();
  }
}
