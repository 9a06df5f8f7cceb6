package org.rlhf4j.core.train;

import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.Weights;
import org.rlhf4j.core.torch.AdamW;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/** From summed gradients to moved weights: finiteness check, clipping, schedule, AdamW. */
public final class Optimization implements AutoCloseable {
  private static final String MASTER = "master.";
  private static final String FIRST_MOMENT = "exp_avg.";
  private static final String SECOND_MOMENT = "exp_avg_sq.";

  /** What PyTorch's clip_grad_norm_ adds to the norm it divides by. */
  private static final double CLIP_EPSILON = 1e-6;

  private final Torch torch;
  private final Weights weights;
  private final AdamW adamW;
  private final LearningRateSchedule schedule;
  private final double maxGradNorm;

  /**
   * An optimizer over all weights of a model.
   *
   * @param maxGradNorm the norm that gradients are clipped to; 0 clips nothing
   */
  public Optimization(
      Torch torch,
      Weights weights,
      AdamW.Settings settings,
      LearningRateSchedule schedule,
      double maxGradNorm) {
    this.torch = torch;
    this.weights = weights;
    this.schedule = schedule;
    this.maxGradNorm = maxGradNorm;
    this.adamW = new AdamW(torch, settings, weights.masters(), weights.decayed());
  }

  /** AdamW's settings in a configuration. */
  public static AdamW.Settings settings(TrainingConfig config) {
    return new AdamW.Settings(
        config.adamBeta1(), config.adamBeta2(), config.adamEpsilon(), config.weightDecay());
  }

  /**
   * What a step did.
   *
   * @param learningRate used by the step
   * @param gradientNorm of all gradients together, before clipping
   */
  public record Update(double learningRate, double gradientNorm) {}

  /**
   * Moves the weights once.
   *
   * @throws org.rlhf4j.core.RlhfException if the gradients are not finite; then nothing is moved
   */
  public Update step(Gradients gradients) {
    try (TensorScope scope = torch.scope()) {
      List<Tensor> sums = gradients.all();
      double norm = torch.ops().norm(scope, sums);
      if (!Double.isFinite(norm)) {
        throw RlhfException.nonFinite(
            "the gradient norm is " + norm + " at step " + (adamW.steps() + 1));
      }
      double scale = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (norm + CLIP_EPSILON)) : 1;
      double learningRate = schedule.at(adamW.steps());
      adamW.step(sums, learningRate, scale);
      weights.followMasters();
      return new Update(learningRate, norm);
    }
  }

  /** Finished steps. */
  public long steps() {
    return adamW.steps();
  }

  /** Masters and moments as {@code optimizer.safetensors} holds them, all in fp32. */
  public List<TensorSource> sources(TensorScope scope) {
    List<TensorSource> sources = new ArrayList<>();
    add(sources, scope, MASTER, weights.masters());
    add(sources, scope, FIRST_MOMENT, adamW.firstMoments());
    add(sources, scope, SECOND_MOMENT, adamW.secondMoments());
    return sources;
  }

  private void add(
      List<TensorSource> sources, TensorScope scope, String prefix, List<Tensor> tensors) {
    for (int i = 0; i < tensors.size(); i++) {
      String name = prefix + weights.parameters().get(i).name();
      sources.add(Weights.source(torch.ops(), scope, name, StoredType.F32, tensors.get(i)));
    }
  }

  /** Takes over masters and moments, and continues after that many steps. */
  public void restore(SafetensorsFile file, long steps) {
    restore(file, MASTER, weights.masters());
    restore(file, FIRST_MOMENT, adamW.firstMoments());
    restore(file, SECOND_MOMENT, adamW.secondMoments());
    weights.followMasters();
    adamW.resumeAt(steps);
  }

  private void restore(SafetensorsFile file, String prefix, List<Tensor> tensors) {
    try (TensorScope scope = torch.scope()) {
      for (int i = 0; i < tensors.size(); i++) {
        String name = prefix + weights.parameters().get(i).name();
        if (!file.contains(name) || !file.info(name).hasShape(tensors.get(i).shape())) {
          throw RlhfException.input(
              file.path() + ": no tensor " + name + " of this model's shape; it cannot be resumed");
        }
        Weights.fill(
            torch.ops(),
            scope,
            tensors.get(i),
            (from, target) -> file.readFloats(name, from, target));
      }
    }
  }

  @Override
  public void close() {
    adamW.close();
  }
}
