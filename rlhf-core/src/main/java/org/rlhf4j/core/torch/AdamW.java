package org.rlhf4j.core.torch;

import java.util.ArrayList;
import java.util.List;

/**
 * AdamW with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2) on fp32 weights, in
 * PyTorch's fused kernel. The moments belong to this object; the weights are the caller's.
 */
public final class AdamW implements AutoCloseable {
  /**
   * What stays the same over a run.
   *
   * @param beta1 decay of the first moment
   * @param beta2 decay of the second moment
   * @param epsilon added to the root of the second moment
   * @param weightDecay for weights that are decayed at all
   */
  public record Settings(double beta1, double beta2, double epsilon, double weightDecay) {}

  private final Ops ops;
  private final Settings settings;
  private final TensorScope scope;
  private final List<Tensor> weights;
  private final boolean[] decayed;
  private final List<Tensor> firstMoments = new ArrayList<>();
  private final List<Tensor> secondMoments = new ArrayList<>();
  private long steps;

  /**
   * Starts with moments of zero.
   *
   * @param weights fp32 weights that {@link #step} changes in place
   * @param decayed for each weight, whether it is decayed
   */
  public AdamW(Torch torch, Settings settings, List<Tensor> weights, boolean[] decayed) {
    this.ops = torch.ops();
    this.settings = settings;
    this.scope = torch.scope();
    this.weights = List.copyOf(weights);
    this.decayed = decayed.clone();
    for (Tensor weight : weights) {
      firstMoments.add(ops.zerosLike(scope, weight, ElementType.FP32));
      secondMoments.add(ops.zerosLike(scope, weight, ElementType.FP32));
    }
  }

  /**
   * One update.
   *
   * @param gradients fp32, one for each weight; changed
   * @param learningRate of this step
   * @param gradientScale what the gradients are multiplied by first, for clipping
   */
  public void step(List<Tensor> gradients, double learningRate, double gradientScale) {
    steps++;
    try (TensorScope step = scope.child()) {
      Tensor count = step.of(new float[] {steps}, 1);
      Tensor divisor = step.of(new float[] {(float) (1 / gradientScale)}, 1);
      update(true, gradients, learningRate, count, divisor);
      update(false, gradients, learningRate, count, divisor);
    }
  }

  private void update(
      boolean decay, List<Tensor> gradients, double learningRate, Tensor count, Tensor divisor) {
    List<Tensor> group = pick(weights, decay);
    if (group.isEmpty()) {
      return;
    }
    ops.adamW(
        group,
        pick(gradients, decay),
        pick(firstMoments, decay),
        pick(secondMoments, decay),
        group.stream().map(weight -> count).toList(),
        learningRate,
        settings.beta1(),
        settings.beta2(),
        decay ? settings.weightDecay() : 0.0,
        settings.epsilon(),
        divisor);
  }

  private List<Tensor> pick(List<Tensor> all, boolean decay) {
    List<Tensor> picked = new ArrayList<>();
    for (int i = 0; i < all.size(); i++) {
      if (decayed[i] == decay) {
        picked.add(all.get(i));
      }
    }
    return picked;
  }

  /** The number of updates made. */
  public long steps() {
    return steps;
  }

  /** Continues after that many updates; the moments are filled through their tensors. */
  public void resumeAt(long finishedSteps) {
    this.steps = finishedSteps;
  }

  /** Running means of the gradients, one for each weight. */
  public List<Tensor> firstMoments() {
    return List.copyOf(firstMoments);
  }

  /** Running means of the squared gradients, one for each weight. */
  public List<Tensor> secondMoments() {
    return List.copyOf(secondMoments);
  }

  @Override
  public void close() {
    scope.close();
  }
}
