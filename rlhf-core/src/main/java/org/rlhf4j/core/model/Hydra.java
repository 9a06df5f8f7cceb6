package org.rlhf4j.core.model;

import java.util.List;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;

/**
 * A policy that is trained and the frozen reference that it started as. Both have their first
 * blocks in common, which are then computed once for the two of them (the hydra of trlX), unless
 * they are kept apart.
 */
public final class Hydra implements AutoCloseable {
  /** Stands for all layers, see {@link ModelLoader#hydra}. */
  public static final int ALL = -1;

  private final CausalLm policy;
  private final CausalLm reference;
  private final Trunk trunk;
  private final Weights shared;

  /**
   * The policy's blocks that stay as they were.
   *
   * @param layers number of blocks
   * @param trained how many of the policy's trained parameters stand before them
   * @param shared whether they, and the embeddings before them, are the reference's own
   */
  record Trunk(int layers, int trained, boolean shared) {}

  /**
   * A policy and its reference.
   *
   * @param shared weights that neither of them closes; null where they close all
   */
  Hydra(CausalLm policy, CausalLm reference, Trunk trunk, Weights shared) {
    this.policy = policy;
    this.reference = reference;
    this.trunk = trunk;
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

  /** How many blocks stay as they were; 0 where there are none below the trained ones. */
  public int trunkLayers() {
    return trunk.layers();
  }

  /** Whether what stays as it was is there once for both, not once for each. */
  public boolean isTrunkShared() {
    return trunk.shared();
  }

  /** Whether what the common blocks compute stays the same while the policy is trained. */
  public boolean isTrunkFrozen() {
    return trunk.trained() == 0;
  }

  /** What is trained before the common blocks, see {@link EmbeddingTraining}. */
  public List<ParameterSpec> trainedEmbeddings() {
    return policy.trained().parameters().subList(0, trunk.trained());
  }

  /** A trained copy of the reference's last blocks, see {@link Branch}. The caller closes it. */
  public Branch branch(ModelFolder start, int layers) {
    return ModelLoader.branch(this, start, layers);
  }

  /**
   * What the common blocks make of a batch, as of now: the states of every token behind them.
   *
   * @return {@code [tokens, hidden]}; null where there are none
   */
  public Tensor trunk(TensorScope scope, TokenBatch batch) {
    return trunk.layers() == 0 || !trunk.shared()
        ? null
        : policy.decoder().statesBefore(scope, batch, null, trunk.layers());
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
