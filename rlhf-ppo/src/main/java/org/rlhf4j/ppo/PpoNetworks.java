package org.rlhf4j.ppo;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.model.Branch;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.Decoder;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.EmbeddingTraining;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.Hydra;
import org.rlhf4j.core.model.LmHead;
import org.rlhf4j.core.model.LoraSpec;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.RewardModel;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.model.ValueHead;
import org.rlhf4j.core.model.Weights;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.core.train.RunCheck;
import org.rlhf4j.ppo.rollout.NetworkTable;

/**
 * The networks of PPO: a policy and its frozen reference, which share their first blocks unless
 * they are kept apart, and a value network on what it reads of them.
 */
public final class PpoNetworks implements AutoCloseable {
  /** The file that the value network's weights are kept in. */
  public static final String VALUE_FILE = "value_head.safetensors";

  private static final String HEAD = "v_head.";

  private final Torch torch;
  private final Hydra hydra;
  private final Critic critic;
  private final Options options;

  /**
   * What the networks are.
   *
   * @param type that is computed with; value heads are always fp32
   * @param lora the policy's adapters; null to train weights of its own
   * @param seed of whatever is drawn
   * @param split where what is trained begins
   * @param value the kind of value network
   * @param numValueLayersUnfrozen blocks of the value network's own, counted from the last
   * @param valueModel what a separate value network starts as: a reward model or a language model;
   *     null: as the policy
   * @param temperature what logits are divided by, as when the responses were drawn
   * @param recording how passes with a graph are made
   */
  public record Options(
      ElementType type,
      LoraSpec lora,
      long seed,
      ModelLoader.Split split,
      ValueNetwork value,
      int numValueLayersUnfrozen,
      ModelFolder valueModel,
      double temperature,
      Recording recording) {
    /**
     * With a frozen trunk that is shared.
     *
     * @param numLayersUnfrozen blocks, counted from the last, that are trained; -1: all
     */
    public Options(
        ElementType type,
        LoraSpec lora,
        long seed,
        int numLayersUnfrozen,
        ValueNetwork value,
        int numValueLayersUnfrozen,
        ModelFolder valueModel,
        double temperature,
        Recording recording) {
      this(
          type,
          lora,
          seed,
          new ModelLoader.Split(numLayersUnfrozen, EmbeddingTraining.NONE, true),
          value,
          numValueLayersUnfrozen,
          valueModel,
          temperature,
          recording);
    }
  }

  private PpoNetworks(Torch torch, Hydra hydra, Critic critic, Options options) {
    this.torch = torch;
    this.hydra = hydra;
    this.critic = critic;
    this.options = options;
  }

  /**
   * Loads the networks; the caller closes them.
   *
   * @param start the folder of the model that the policy starts as
   * @throws RlhfException if the folder, or the numbers of layers, do not fit
   */
  public static PpoNetworks load(Torch torch, ModelFolder start, Options options) {
    Hydra hydra =
        ModelLoader.hydra(
            torch,
            start,
            new ModelLoader.Options(options.type(), true, options.lora(), options.seed()),
            options.split());
    boolean complete = false;
    try {
      PpoNetworks networks =
          new PpoNetworks(torch, hydra, critic(torch, hydra, start, options), options);
      complete = true;
      return networks;
    } finally {
      if (!complete) {
        hydra.close();
      }
    }
  }

  private static Critic critic(Torch torch, Hydra hydra, ModelFolder start, Options options) {
    DecoderSpec spec = hydra.reference().decoder().spec();
    int layers = options.numValueLayersUnfrozen();
    int most = spec.layers() - hydra.trunkLayers();
    boolean own = options.value() == ValueNetwork.REFERENCE_BRANCH;
    if (options.value() == ValueNetwork.SEPARATE) {
      if (layers != 0) {
        throw RlhfException.config(
            "num_value_layers_unfrozen: %d has no meaning for value_network separate, which trains"
                    .formatted(layers)
                + " all of its layers; leave it out");
      }
      ModelFolder folder = options.valueModel() == null ? start : options.valueModel();
      requireVocabulary(ModelFamilies.of(folder).spec(), folder, spec);
      RewardModel model =
          ModelLoader.rewardModel(
              torch, folder, new ModelLoader.Options(options.type(), true), options.seed());
      return new Critic.Separate(model);
    }
    if (options.valueModel() != null) {
      throw RlhfException.config(
          "value_model_name_or_path: needs value_network separate; the other value networks start"
              + " from the policy's model");
    }
    requireValueLayers(options.value(), layers, most);
    int width = spec.embedding().width();
    ValueHead head =
        new ValueHead(torch, width, options.type(), ValueHead.fresh(width, options.seed()));
    if (layers == 0) {
      return new Critic.Head(head);
    }
    Branch branch = hydra.branch(start, layers);
    boolean readsTrained = hydra.policy().decoder().trainsBelow(branch.firstLayer());
    return new Critic.OnBranch(branch, head, !own && readsTrained);
  }

  private static void requireValueLayers(ValueNetwork value, int layers, int most) {
    int least = value == ValueNetwork.REFERENCE_BRANCH ? 1 : 0;
    if (layers > most || layers < least) {
      throw RlhfException.config(
          ("num_value_layers_unfrozen: %d; allowed with value_network %s: %d to %d, the layers that"
                  + " num_layers_unfrozen leaves to be trained")
              .formatted(layers, value.name().toLowerCase(Locale.ROOT), least, most));
    }
  }

  private static void requireVocabulary(DecoderSpec value, ModelFolder folder, DecoderSpec policy) {
    int own = value.vocabularySize();
    if (own < policy.vocabularySize()) {
      throw RlhfException.config(
          ("value_model_name_or_path: %s has a vocabulary of %d tokens, the policy one of %d; it must"
                  + " know all of them")
              .formatted(folder.path(), own, policy.vocabularySize()));
    }
  }

  /**
   * Requires that a value model of its own can read the longest rows of a run.
   *
   * @throws RlhfException where its context is shorter
   */
  void requireContext(int longestRow) {
    if (critic instanceof Critic.Separate separate) {
      requireContext(separate.model().decoder().spec(), longestRow);
    }
  }

  private static void requireContext(DecoderSpec value, int longestRow) {
    if (value.maxPositions() < longestRow) {
      throw RlhfException.config(
          ("value_model_name_or_path: the model's context is %d tokens, rows may have %d; a smaller"
                  + " max_length helps")
              .formatted(value.maxPositions(), longestRow));
    }
  }

  /** Looks at what the value network would be loaded from, without reading weights. */
  static void checkValue(RunCheck run, NetworkConfig network) {
    Checks checks = run.checks();
    String named = network.valueModelNameOrPath();
    if (network.valueNetwork() != ValueNetwork.SEPARATE) {
      if (run.spec() != null) {
        int layers = run.spec().layers();
        int most = network.numLayersUnfrozen() < 0 ? layers : network.numLayersUnfrozen();
        checks.require(
            () ->
                requireValueLayers(network.valueNetwork(), network.numValueLayersUnfrozen(), most));
      }
      return;
    }
    if (named == null) {
      return;
    }
    Checks.FoundModel found = checks.model("value model", Path.of(named));
    if (found.model() != null && run.spec() != null) {
      DecoderSpec value = found.model().spec();
      checks.require(() -> requireVocabulary(value, found.folder(), run.spec()));
      checks.require(() -> requireContext(value, run.longestRow()));
    }
  }

  /**
   * Takes the value network's weights from where {@link #writeValue} left them, if they are of this
   * layout.
   *
   * @return whether they are
   */
  boolean readValue(Path folder) {
    Path path = folder.resolve(VALUE_FILE);
    if (!Files.exists(path)) {
      return false;
    }
    SafetensorsFile file = SafetensorsFile.open(path);
    List<Optimization.Part> parts = trained(1);
    List<Optimization.Part> own = parts.subList(1, parts.size());
    int count = 0;
    for (Optimization.Part part : own) {
      for (int i = 0; i < part.weights().parameters().size(); i++) {
        String name = part.name() + part.weights().parameters().get(i).name();
        if (!file.contains(name)
            || !file.info(name).hasShape(part.weights().masters().get(i).shape())) {
          return false;
        }
        count++;
      }
    }
    if (count != file.tensors().size()) {
      return false;
    }
    try (TensorScope scope = torch.scope()) {
      for (Optimization.Part part : own) {
        for (int i = 0; i < part.weights().parameters().size(); i++) {
          String name = part.name() + part.weights().parameters().get(i).name();
          Weights.fill(
              torch.ops(),
              scope,
              part.weights().masters().get(i),
              (from, target) -> file.readFloats(name, from, target));
        }
        part.weights().followMasters();
      }
    }
    return true;
  }

  /** The policy; what it trains is the first of {@link #trained}. */
  public CausalLm policy() {
    return hydra.policy();
  }

  /** The frozen reference. */
  public CausalLm reference() {
    return hydra.reference();
  }

  /** Whether the reference stays as it is: it has no weights that are trained. */
  boolean isReferenceFrozen() {
    return hydra.isTrunkFrozen();
  }

  /**
   * What is trained: the policy's weights, then those of the value network.
   *
   * @param valueRate what the learning rate is multiplied by for the value network
   */
  public List<Optimization.Part> trained(double valueRate) {
    List<Optimization.Part> parts = new ArrayList<>();
    parts.add(new Optimization.Part("", policy().trained(), 1));
    for (Weights weights : critic.weights()) {
      // The head's names are its own; a branch or a model of its own has those of the policy.
      boolean head = weights.parameters().get(0).name().startsWith(HEAD);
      parts.add(new Optimization.Part(head ? "" : "value.", weights, valueRate));
    }
    return parts;
  }

  /**
   * What the frozen blocks make of every token of some rows. It stays the same while the policy is
   * trained.
   *
   * @param trunk the states behind the common blocks, {@code [tokens, hidden]}; null where there
   *     are none, where they do not stay the same, and where each model has its own
   * @param branch the reference's states that the value branch reads, likewise; null where it reads
   *     none, and where they are the trunk's
   */
  public record States(Tensor trunk, Tensor branch) {
    /** Those of each row, in the order of the batch. */
    public List<States> split(Torch torch, TensorScope scope, int[] rowLengths) {
      long[] rows = Arrays.stream(rowLengths).asLongStream().toArray();
      Tensor[] trunks = trunk == null ? null : torch.ops().splitRows(scope, trunk, rows);
      Tensor[] branches = branch == null ? null : torch.ops().splitRows(scope, branch, rows);
      List<States> apart = new ArrayList<>();
      for (int i = 0; i < rows.length; i++) {
        apart.add(
            new States(trunks == null ? null : trunks[i], branches == null ? null : branches[i]));
      }
      return apart;
    }

    /** Those of a batch, of the states of its rows. */
    public static States join(Torch torch, TensorScope scope, List<States> rows) {
      return new States(
          rows.get(0).trunk == null
              ? null
              : torch.ops().joinRows(scope, rows.stream().map(States::trunk).toList()),
          rows.get(0).branch == null
              ? null
              : torch.ops().joinRows(scope, rows.stream().map(States::branch).toList()));
    }
  }

  /** Computes what {@link #score} and {@link #addGradients} take of the frozen blocks. */
  public States states(TensorScope scope, TokenBatch batch) {
    Tensor trunk = hydra.isTrunkFrozen() ? hydra.trunk(scope, batch) : null;
    if (!(critic instanceof Critic.OnBranch on) || on.flowsBack()) {
      return new States(trunk, null);
    }
    int layer = on.branch().firstLayer();
    if (trunk != null && layer == hydra.trunkLayers()) {
      return new States(trunk, null);
    }
    return new States(
        trunk,
        reference().decoder().statesBefore(scope, batch, start(new States(trunk, null)), layer));
  }

  private Decoder.Start start(States states) {
    return states.trunk() == null
        ? null
        : new Decoder.Start(hydra.trunkLayers(), states.trunk(), false);
  }

  /**
   * What the networks say of a batch's targets, all {@code [targets]}.
   *
   * @param logProbs of the policy, in nats
   * @param referenceLogProbs of the reference
   * @param values of the states before the targets
   */
  public record Scored(float[] logProbs, float[] referenceLogProbs, float[] values) {}

  /**
   * Scores a batch; no graph is kept.
   *
   * @param states of this batch; null to compute them
   */
  public Scored score(TokenBatch batch, States states) {
    try (TensorScope scope = torch.scope()) {
      States frozen = states == null ? states(scope, batch) : states;
      // Where the trunk moves, the reference stands on what the policy has made of it, as in trlX.
      Decoder.Start common =
          hydra.isTrunkFrozen()
              ? start(frozen)
              : new Decoder.Start(hydra.trunkLayers(), hydra.trunk(scope, batch), false);
      Decoder.Start start = common;
      Decoder decoder = policy().decoder();
      Tensor read = frozen.branch() == null ? frozen.trunk() : frozen.branch();
      if (critic instanceof Critic.OnBranch on && on.flowsBack()) {
        // The branch leaves the policy inside its trained blocks.
        read = decoder.statesBefore(scope, batch, start, on.branch().firstLayer());
        start = new Decoder.Start(on.branch().firstLayer(), read, false);
      }
      Tensor hidden = decoder.forward(scope, batch, start, Recording.NONE).hidden();
      LmHead.Found found = policy().head().logProbs(scope, hidden, batch.targets(), reading(false));
      float[] values = critic.values(scope, new Critic.Reads(batch, hidden, read));
      return new Scored(found.logProbs(), referenceLogProbs(scope, batch, common), values);
    }
  }

  private float[] referenceLogProbs(TensorScope scope, TokenBatch batch, Decoder.Start start) {
    Tensor hidden = reference().decoder().forward(scope, batch, start, Recording.NONE).hidden();
    return reference().head().logProbs(scope, hidden, batch.targets(), reading(false)).logProbs();
  }

  private LmHead.Reading reading(boolean statistics) {
    return new LmHead.Reading(statistics, options.temperature());
  }

  /**
   * The derivatives of a loss, each {@code [targets]}.
   *
   * @param ofLogProbs d loss / d log-probability
   * @param ofEntropies d loss / d entropy; empty where the loss does not look at entropies
   * @param ofValues d loss / d value
   */
  public record Terms(float[] ofLogProbs, float[] ofEntropies, float[] ofValues) {}

  /** A loss of log-probabilities and values: plain Java. */
  @FunctionalInterface
  public interface Derivative {
    /**
     * Asked once for each batch.
     *
     * @param logProbs of the policy, {@code [targets]}
     * @param values of the states before the targets, {@code [targets]}
     */
    Terms of(float[] logProbs, float[] values);
  }

  /**
   * Adds a batch's gradients.
   *
   * @param states of this batch; null to compute them
   * @param into one for each of {@link #trained}
   * @return the entropies of the policy's distributions, {@code [targets]}
   */
  public float[] addGradients(
      TokenBatch batch, States states, Derivative derivative, List<Gradients> into) {
    try (TensorScope scope = torch.scope()) {
      States frozen = states == null ? states(scope, batch) : states;
      Decoder decoder = policy().decoder();
      Decoder.Pass pass = decoder.forward(scope, batch, start(frozen), options.recording());
      Tensor read = frozen.branch() == null ? frozen.trunk() : frozen.branch();
      int layer = 0;
      if (critic instanceof Critic.OnBranch on && on.flowsBack()) {
        layer = on.branch().firstLayer();
        read = pass.statesBefore(layer);
      }
      Critic.Reads reads = new Critic.Reads(batch, pass.hidden(), read);
      Critic.Recorded recorded = critic.record(scope, reads, options.recording());
      LmHead head = policy().head();
      LmHead.Selected rows = new LmHead.Selected(pass.hidden(), batch.targets());
      LmHead.Opened opened = head.open(scope, rows, reading(true));
      Terms terms = derivative.of(opened.logProbs(), recorded.values());
      LmHead.OfTargets ofTargets = new LmHead.OfTargets(terms.ofLogProbs(), terms.ofEntropies());
      LmHead.WithGradient result =
          head.gradient(scope, rows, opened, ofTargets, into.get(0), reading(true));
      Critic.OfReads ofReads =
          critic.backward(scope, recorded, terms.ofValues(), into.subList(1, into.size()));
      Tensor ofHidden = result.ofHidden();
      if (ofReads.ofHidden() != null) {
        torch.ops().addTo(List.of(ofHidden), List.of(ofReads.ofHidden()));
      }
      decoder.backward(
          scope, pass, new Decoder.OfPass(ofHidden, layer, ofReads.ofStates()), into.get(0));
      return result.found().entropies();
    }
  }

  /**
   * Numbers that change as soon as a weight of the reference does: sums over its tensors.
   *
   * @see org.rlhf4j.core.torch.Ops#fingerprint
   */
  public float[] referenceFingerprint() {
    try (TensorScope scope = torch.scope()) {
      return torch.ops().fingerprint(scope, reference().weights().all());
    }
  }

  /**
   * Writes the value network's weights beside the policy's folder.
   *
   * @param folder an existing one
   * @param type how they are stored; the head always as fp32
   */
  public void writeValue(Path folder, StoredType type) {
    List<TensorSource> sources = new ArrayList<>();
    List<Optimization.Part> parts = trained(1);
    for (Optimization.Part part : parts.subList(1, parts.size())) {
      Weights weights = part.weights();
      StoredType stored = weights.type() == ElementType.FP32 ? StoredType.F32 : type;
      weights
          .sources(part.name().isEmpty() ? StoredType.F32 : stored)
          .forEach(source -> sources.add(source.renamed(part.name() + source.name())));
    }
    SafetensorsWriter.write(
        folder.resolve(VALUE_FILE), sources, SafetensorsWriter.PYTORCH_METADATA);
  }

  /** What there is, what is shared and what is trained. */
  public NetworkTable table() {
    List<NetworkTable.Line> lines = new ArrayList<>(NetworkTable.of(hydra).lines());
    int layers = reference().decoder().spec().layers();
    for (Weights weights : critic.weights()) {
      boolean head = weights.parameters().get(0).name().startsWith(HEAD);
      int first = critic instanceof Critic.OnBranch on ? on.branch().firstLayer() : 0;
      String part =
          head
              ? "value head"
              : critic instanceof Critic.OnBranch ? "value branch" : "value network of its own";
      lines.add(
          new NetworkTable.Line(
              part,
              head ? "" : NetworkTable.range(first, layers),
              NetworkTable.count(weights.parameters()),
              true));
    }
    return new NetworkTable(lines);
  }

  @Override
  public void close() {
    critic.close();
    hydra.close();
  }
}
