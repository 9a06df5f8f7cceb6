package org.rlhf4j.core.model;

import java.util.List;

/**
 * Low-rank adapters (LoRA, Hu et al. 2021): beside a frozen weight {@code W [out, in]} stand {@code
 * A [rank, in]} and {@code B [out, rank]}, and {@code y = x W^T + scale (drop(x) A^T) B^T}.
 *
 * @param rank of each adapter
 * @param alpha numerator of the scale
 * @param dropout share of the adapters' inputs that is dropped in training
 * @param targetModules modules that get an adapter, by the last parts of their names, or {@link
 *     #ALL_LINEAR}
 * @param rankStabilized whether the scale is {@code alpha / sqrt(rank)} (Kalajdzievski 2023)
 * @param modulesToSave modules of which a copy is trained and saved whole
 */
public record LoraSpec(
    int rank,
    double alpha,
    double dropout,
    List<String> targetModules,
    boolean rankStabilized,
    List<String> modulesToSave) {
  /** All linear modules but the head, as PEFT means it. */
  public static final String ALL_LINEAR = "all-linear";

  /** Copies the names. */
  public LoraSpec {
    targetModules = List.copyOf(targetModules);
    modulesToSave = List.copyOf(modulesToSave);
  }

  /** The factor of the adapters' outputs. */
  public double scale() {
    return alpha / (rankStabilized ? Math.sqrt(rank) : rank);
  }

  /** The same with other names. */
  LoraSpec withModules(List<String> targets, List<String> saved) {
    return new LoraSpec(rank, alpha, dropout, targets, rankStabilized, saved);
  }
}
