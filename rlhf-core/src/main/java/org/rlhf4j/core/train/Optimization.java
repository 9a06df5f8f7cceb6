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
  private final List<Part> parts;
  private final List<AdamW> optimizers = new ArrayList<>();
  private final LearningRateSchedule schedule;
  private final double maxGradNorm;

  /**
   * Weights that are moved together.
   *
   * @param name what the names of its parameters begin with in {@code optimizer.safetensors}
   * @param rate what the schedule's learning rate is multiplied by
   */
  public record Part(String name, Weights weights, double rate) {}

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
    this(torch, List.of(new Part("", weights, 1)), settings, schedule, maxGradNorm);
  }

  /**
   * An optimizer over several sets of weights, whose gradients are clipped as one.
   *
   * @param maxGradNorm the norm that gradients are clipped to; 0 clips nothing
   */
  public Optimization(
      Torch torch,
      List<Part> parts,
      AdamW.Settings settings,
      LearningRateSchedule schedule,
      double maxGradNorm) {
    this.torch = torch;
    this.parts = List.copyOf(parts);
    this.schedule = schedule;
    this.maxGradNorm = maxGradNorm;
    for (Part part : parts) {
      Weights weights = part.weights();
      optimizers.add(new AdamW(torch, settings, weights.masters(), weights.decayed()));
    }
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
    return step(List.of(gradients));
  }

  /**
   * Moves the weights once.
   *
   * @param gradients of each part, in the parts' order
   * @throws org.rlhf4j.core.RlhfException if the gradients are not finite; then nothing is moved
   */
  public Update step(List<Gradients> gradients) {
    if (gradients.size() != parts.size()) {
      throw new IllegalArgumentException(
          gradients.size() + " sums of gradients for " + parts.size() + " parts");
    }
    try (TensorScope scope = torch.scope()) {
      List<Tensor> sums = gradients.stream().flatMap(each -> each.all().stream()).toList();
      double norm = torch.ops().norm(scope, sums);
      if (!Double.isFinite(norm)) {
        throw RlhfException.nonFinite("the gradient norm is " + norm + " at step " + (steps() + 1));
      }
      double scale = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (norm + CLIP_EPSILON)) : 1;
      double learningRate = schedule.at(steps());
      int from = 0;
      for (int i = 0; i < parts.size(); i++) {
        Part part = parts.get(i);
        int to = from + part.weights().all().size();
        optimizers.get(i).step(sums.subList(from, to), learningRate * part.rate(), scale);
        part.weights().followMasters();
        from = to;
      }
      return new Update(learningRate, norm);
    }
  }

  /** Finished steps. */
  public long steps() {
    return optimizers.get(0).steps();
  }

  /** Masters and moments as {@code optimizer.safetensors} holds them, all in fp32. */
  public List<TensorSource> sources(TensorScope scope) {
    List<TensorSource> sources = new ArrayList<>();
    for (int i = 0; i < parts.size(); i++) {
      Part part = parts.get(i);
      add(sources, scope, MASTER, part, part.weights().masters());
      add(sources, scope, FIRST_MOMENT, part, optimizers.get(i).firstMoments());
      add(sources, scope, SECOND_MOMENT, part, optimizers.get(i).secondMoments());
    }
    return sources;
  }

  private void add(
      List<TensorSource> sources,
      TensorScope scope,
      String prefix,
      Part part,
      List<Tensor> tensors) {
    for (int i = 0; i < tensors.size(); i++) {
      String name = name(prefix, part, i);
      sources.add(Weights.source(torch.ops(), scope, name, StoredType.F32, tensors.get(i)));
    }
  }

  private static String name(String prefix, Part part, int parameter) {
    return prefix + part.name() + part.weights().parameters().get(parameter).name();
  }

  /** Takes over masters and moments, and continues after that many steps. */
  public void restore(SafetensorsFile file, long steps) {
    for (int i = 0; i < parts.size(); i++) {
      Part part = parts.get(i);
      AdamW adamW = optimizers.get(i);
      restore(file, MASTER, part, part.weights().masters());
      restore(file, FIRST_MOMENT, part, adamW.firstMoments());
      restore(file, SECOND_MOMENT, part, adamW.secondMoments());
      part.weights().followMasters();
      adamW.resumeAt(steps);
    }
  }

  private void restore(SafetensorsFile file, String prefix, Part part, List<Tensor> tensors) {
    try (TensorScope scope = torch.scope()) {
      for (int i = 0; i < tensors.size(); i++) {
        String name = name(prefix, part, i);
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
    optimizers.forEach(AdamW::close);
  }
}
