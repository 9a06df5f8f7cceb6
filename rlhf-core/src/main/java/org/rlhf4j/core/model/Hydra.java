package org.rlhf4j.core.model;

import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;

/**
 * A policy that is trained and the frozen reference that it started as. Both have their first
 * blocks in common, which are then computed once for the two of them (the hydra of trlX).
 */
public final class Hydra implements AutoCloseable {
  /** Stands for all layers, see {@link ModelLoader#hydra}. */
  public static final int ALL = -1;

  private final CausalLm policy;
  private final CausalLm reference;
  private final int trunkLayers;
  private final Weights shared;

  /**
   * A policy and its reference.
   *
   * @param shared weights that neither of them closes; null where one of them does
   */
  Hydra(CausalLm policy, CausalLm reference, int trunkLayers, Weights shared) {
    this.policy = policy;
    this.reference = reference;
    this.trunkLayers = trunkLayers;
    this.shared = shared;
  }

  /** The model that is trained; {@link CausalLm#trained()} are its parameters that are. */
  public CausalLm policy() {
    return policy;
  }

  /** The model before its training. */
  public CausalLm reference() {
    return reference;
  }

  /**
   * How many blocks both have in common; 0 where they share nothing that could be computed once.
   */
  public int trunkLayers() {
    return trunkLayers;
  }

  /** A trained copy of the reference's last blocks, see {@link Branch}. The caller closes it. */
  public Branch branch(ModelFolder start, int layers) {
    return ModelLoader.branch(this, start, layers);
  }

  /**
   * What the common blocks make of a batch: the states of every token behind them.
   *
   * @return {@code [tokens, hidden]}; null where there are none
   */
  public Tensor trunk(TensorScope scope, TokenBatch batch) {
    return trunkLayers == 0
        ? null
        : reference.decoder().statesBefore(scope, batch, null, trunkLayers);
  }

  @Override
  public void close() {
    reference.close();
    policy.close();
    if (shared != null) {
      shared.close();
    }
  }
}
