package org.rlhf4j.ppo.group;

import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.Decoder;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.EmbeddingTraining;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.Hydra;
import org.rlhf4j.core.model.LmHead;
import org.rlhf4j.core.model.LoraSpec;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.ppo.rollout.NetworkTable;

/**
 * The networks of the group methods: a policy and, where something asks for it, its frozen
 * reference, which shares its first blocks.
 */
final class GroupNetworks implements AutoCloseable {
  private final Torch torch;
  private final CausalLm policy;

  /** Null where the policy stands alone. */
  private final Hydra hydra;

  private final Options options;

  /**
   * What the networks are.
   *
   * @param type that is computed with
   * @param lora the policy's adapters; null to train weights of its own
   * @param seed of whatever is drawn
   * @param numLayersUnfrozen see {@link ModelLoader#hydra}
   * @param reference whether there is a reference
   * @param temperature what logits are divided by, as when the responses were drawn
   * @param recording how passes with a graph are made
   */
  record Options(
      ElementType type,
      LoraSpec lora,
      long seed,
      int numLayersUnfrozen,
      boolean reference,
      double temperature,
      Recording recording) {}

  private GroupNetworks(Torch torch, CausalLm policy, Hydra hydra, Options options) {
    this.torch = torch;
    this.policy = policy;
    this.hydra = hydra;
    this.options = options;
  }

  /**
   * Loads the networks; the caller closes them.
   *
   * @param start the folder of the model that the policy starts as
   */
  static GroupNetworks load(Torch torch, ModelFolder start, Options options) {
    ModelLoader.Options loaded =
        new ModelLoader.Options(options.type(), true, options.lora(), options.seed());
    if (!options.reference() && options.numLayersUnfrozen() == Hydra.ALL) {
      return new GroupNetworks(torch, ModelLoader.causalLm(torch, start, loaded), null, options);
    }
    Hydra hydra =
        ModelLoader.hydra(
            torch,
            start,
            loaded,
            new ModelLoader.Split(options.numLayersUnfrozen(), EmbeddingTraining.NONE, true));
    return new GroupNetworks(torch, hydra.policy(), hydra, options);
  }

  CausalLm policy() {
    return policy;
  }

  /** Whether there is a reference to compare with. */
  boolean hasReference() {
    return options.reference();
  }

  /**
   * What the frozen blocks make of every token of a batch. It stays the same while the policy is
   * trained.
   *
   * @return {@code [tokens, hidden]}; null where there are none
   */
  Tensor trunk(TensorScope scope, TokenBatch batch) {
    return hydra == null ? null : hydra.trunk(scope, batch);
  }

  private Decoder.Start start(Tensor trunk) {
    return trunk == null ? null : new Decoder.Start(hydra.trunkLayers(), trunk, false);
  }

  private LmHead.Reading reading(boolean statistics) {
    return new LmHead.Reading(statistics, options.temperature());
  }

  /**
   * Log-probabilities of the policy for a batch's targets, {@code [targets]}; no graph is kept.
   *
   * @param trunk of this batch; null where there is none
   */
  float[] logProbs(TokenBatch batch, Tensor trunk) {
    return logProbs(policy, batch, trunk);
  }

  /** As {@link #logProbs}, of the reference. */
  float[] referenceLogProbs(TokenBatch batch, Tensor trunk) {
    return logProbs(hydra.reference(), batch, trunk);
  }

  private float[] logProbs(CausalLm model, TokenBatch batch, Tensor trunk) {
    try (TensorScope scope = torch.scope()) {
      Tensor hidden = model.decoder().forward(scope, batch, start(trunk), Recording.NONE).hidden();
      return model.head().logProbs(scope, hidden, batch.targets(), reading(false)).logProbs();
    }
  }

  /**
   * Adds a batch's gradients.
   *
   * @param trunk of this batch; null where there is none
   * @param derivative of the loss, asked once
   * @return the entropies of the policy's distributions, {@code [targets]}
   */
  float[] addGradients(
      TokenBatch batch, Tensor trunk, CausalLm.Derivative derivative, Gradients into) {
    try (TensorScope scope = torch.scope()) {
      Decoder.Pass pass = policy.decoder().forward(scope, batch, start(trunk), options.recording());
      LmHead head = policy.head();
      LmHead.Selected rows = new LmHead.Selected(pass.hidden(), batch.targets());
      LmHead.Opened opened = head.open(scope, rows, reading(true));
      LmHead.OfTargets ofTargets = new LmHead.OfTargets(derivative.of(opened.logProbs()));
      LmHead.WithGradient result =
          head.gradient(scope, rows, opened, ofTargets, into, reading(true));
      policy.decoder().backward(scope, pass, result.ofHidden(), into);
      return result.found().entropies();
    }
  }

  /** See {@link PpoNetworks#referenceFingerprint}; empty without a reference. */
  float[] referenceFingerprint() {
    if (!hasReference()) {
      return new float[0];
    }
    try (TensorScope scope = torch.scope()) {
      return torch.ops().fingerprint(scope, hydra.reference().weights().all());
    }
  }

  /** What there is, what is shared and what is trained. */
  NetworkTable table() {
    if (hydra != null) {
      return new NetworkTable(
          NetworkTable.of(hydra).lines().stream()
              .map(line -> hasReference() ? line : withoutReference(line))
              .toList());
    }
    List<NetworkTable.Line> lines = new ArrayList<>();
    String layers = NetworkTable.range(0, policy.decoder().spec().layers());
    long all = NetworkTable.count(policy.weights().parameters());
    if (policy.adapter() == null) {
      lines.add(new NetworkTable.Line("policy", layers, all, true));
    } else {
      long adapters = NetworkTable.count(policy.trained().parameters());
      lines.add(new NetworkTable.Line("model", layers, all, false));
      lines.add(new NetworkTable.Line("policy's adapters", layers, adapters, true));
    }
    return new NetworkTable(lines);
  }

  private static NetworkTable.Line withoutReference(NetworkTable.Line line) {
    return line.part().equals(NetworkTable.TOP_OF_REFERENCE)
        ? new NetworkTable.Line(
            "start of the policy's top, read by nothing while beta is 0",
            line.layers(),
            line.parameters(),
            false)
        : line;
  }

  @Override
  public void close() {
    if (hydra == null) {
      policy.close();
    } else {
      hydra.close();
    }
  }
}
