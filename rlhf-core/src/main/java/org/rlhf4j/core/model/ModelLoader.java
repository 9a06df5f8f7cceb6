package org.rlhf4j.core.model;

import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntPredicate;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;

/** Brings the model of a folder onto a device. */
public final class ModelLoader {
  /** Hugging Face's default, for configurations that do not name one. */
  private static final double DEFAULT_INITIALIZER_RANGE = 0.02;

  private ModelLoader() {}

  /**
   * How a model is loaded.
   *
   * @param type what is computed with
   * @param trainable whether it can be trained
   * @param lora the adapter that is trained, the rest staying as it is; null to train all
   * @param seed of a new adapter, and of its dropout
   */
  public record Options(ElementType type, boolean trainable, LoraSpec lora, long seed) {
    /** Without a new adapter. */
    public Options(ElementType type, boolean trainable) {
      this(type, trainable, null, 0);
    }
  }

  /**
   * Loads a language model; the caller closes it. The folder of an adapter gives its model with the
   * adapter beside it; to train all weights, the adapter is merged into them.
   *
   * @throws org.rlhf4j.core.RlhfException if the folder holds none, or anything in it does not fit
   */
  public static CausalLm causalLm(Torch torch, ModelFolder folder, Options options) {
    ModelFamilies.Model model = requireCausalLm(folder);
    Weights.Source source =
        (parameter, from, target) -> model.read(folder, parameter.name(), from, target);
    WeightPlaces places =
        places(torch, new Start(folder, model, model.parameters(), source), options);
    return new CausalLm(torch, model.spec(), places, true);
  }

  /**
   * Looks at what {@link #causalLm} would load, without reading weights.
   *
   * @param lora a new adapter, or null
   * @throws org.rlhf4j.core.RlhfException as there
   */
  public static void checkCausalLm(ModelFolder folder, LoraSpec lora) {
    ModelFamilies.Model model = requireCausalLm(folder);
    if (lora != null) {
      layout(folder, model, lora);
    }
  }

  /** As {@link #checkCausalLm}, for {@link #hydra}. */
  public static void checkHydra(ModelFolder folder, LoraSpec lora, int unfrozen) {
    checkCausalLm(folder, lora);
    requireUnfrozen(folder, requireCausalLm(folder).spec().layers(), lora, unfrozen);
  }

  /**
   * The model that a language model with an adapter was before its training, on the same weights:
   * without an adapter, or with that of its folder. The caller closes it before the model.
   *
   * @param trained a model with an adapter
   * @param start the folder that its training started from
   */
  public static CausalLm reference(CausalLm trained, ModelFolder start) {
    ModelFamilies.Model model = requireCausalLm(start);
    Options options = new Options(trained.weights().type(), false);
    Adapter adapter =
        start.adapter().isEmpty()
            ? null
            : stored(trained.torch(), new StoredAdapter(start.adapter().get(), model), options);
    WeightPlaces places = new WeightPlaces(trained.weights(), adapter);
    return new CausalLm(trained.torch(), model.spec(), places, false);
  }

  /**
   * What of a language model is trained, and what stays as it was.
   *
   * @param unfrozen the number of blocks, counted from the last, that are trained together with
   *     what stands behind them; the blocks before them are frozen. -1 trains everything and shares
   *     nothing
   * @param embeddings what is trained before the first block
   * @param shared whether the frozen blocks are there once for both models; else each has its own,
   *     which is only of use to see what sharing saves
   */
  public record Split(int unfrozen, EmbeddingTraining embeddings, boolean shared) {
    /**
     * Checks that there is something to be held twice, which stays as it is.
     *
     * @throws IllegalArgumentException if there is not
     */
    public Split {
      if (!shared && (unfrozen == Hydra.ALL || embeddings != EmbeddingTraining.NONE)) {
        throw new IllegalArgumentException(
            "models apart have frozen embeddings and a number of blocks");
      }
    }
  }

  /**
   * Loads a language model twice over, once frozen and once to be trained, with one set of weights
   * for what both have in common. The caller closes it.
   *
   * @param options with an adapter, the frozen model is the other one without the adapter
   * @param split where what is trained begins
   * @throws org.rlhf4j.core.RlhfException if the folder holds no language model, or the number does
   *     not fit it
   */
  public static Hydra hydra(Torch torch, ModelFolder folder, Options options, Split split) {
    ModelFamilies.Model model = requireCausalLm(folder);
    int layers = model.spec().layers();
    int unfrozen = split.unfrozen();
    EmbeddingTraining embeddings = split.embeddings();
    requireUnfrozen(folder, layers, options.lora(), unfrozen);
    if (options.lora() != null) {
      CausalLm policy = causalLm(torch, folder, options);
      return new Hydra(policy, reference(policy, folder), new Hydra.Trunk(0, 0, true), null);
    }
    Weights.Source source = source(folder, model);
    Weights base = new Weights(torch, model.parameters(), source, options.type(), false);
    WeightPlaces frozen = new WeightPlaces(base, null);
    boolean own =
        unfrozen != Hydra.ALL && embeddings == EmbeddingTraining.NONE && model.spec().head().tied();
    ModelFamilies.Model trained =
        own
            ? new ModelFamilies.Model(model.family(), model.head(), model.spec().withOwnHead())
            : model;
    int trunkLayers = unfrozen == Hydra.ALL ? 0 : layers - unfrozen;
    TrunkLayout layout = TrunkLayout.of(model.spec());
    int first = unfrozen == Hydra.ALL ? 0 : layout.blockAt(trunkLayers);
    // The token embedding is the first parameter of all.
    int firstOfEmbeddings =
        switch (embeddings) {
          case NONE -> layout.blockAt(0);
          case ALL_BUT_TOKENS -> 1;
          case ALL -> 0;
        };
    IntPredicate isCopied = i -> i >= first || (i >= firstOfEmbeddings && i < layout.blockAt(0));
    String head = model.family().headName(ModelHead.CAUSAL_LM);
    Weights.Source ofCopies =
        own
            ? (parameter, from, target) ->
                source.fill(
                    parameter.name().equals(head) ? model.parameters().get(0) : parameter,
                    from,
                    target)
            : source;
    boolean shared = split.shared();
    Weights below =
        shared
            ? base
            : new Weights(
                torch, model.parameters().subList(0, first), source, options.type(), false);
    WeightPlaces places = copies(torch, below, trained.parameters(), isCopied, ofCopies);
    int trainedBelow = trunkLayers == 0 ? 0 : layout.blockAt(0) - firstOfEmbeddings;
    return new Hydra(
        new CausalLm(torch, trained.spec(), places, !shared),
        new CausalLm(torch, model.spec(), frozen, !shared),
        new Hydra.Trunk(trunkLayers, trainedBelow, shared),
        shared ? base : null);
  }

  private static void requireUnfrozen(ModelFolder folder, int layers, LoraSpec lora, int unfrozen) {
    if (unfrozen == 0 || unfrozen < Hydra.ALL || unfrozen > layers) {
      throw RlhfException.config(
          "num_layers_unfrozen: %d; allowed: -1 for all layers, or 1 to %d, the layers of %s"
              .formatted(unfrozen, layers, folder.path()));
    }
    if (lora != null && unfrozen != Hydra.ALL) {
      throw RlhfException.config(
          "num_layers_unfrozen: "
              + unfrozen
              + " cannot be combined with use_peft, whose adapters stand in all layers; leave"
              + " one of them out");
    }
  }

  /**
   * A model that shares parameters with a frozen one and has trained copies of the others.
   *
   * @param isCopied of the place of a parameter
   */
  private static WeightPlaces copies(
      Torch torch,
      Weights base,
      List<ParameterSpec> parameters,
      IntPredicate isCopied,
      Weights.Source source) {
    List<ParameterSpec> copied = new ArrayList<>();
    int[] places = new int[parameters.size()];
    for (int i = 0; i < places.length; i++) {
      places[i] = isCopied.test(i) ? copied.size() : -1;
      if (isCopied.test(i)) {
        copied.add(parameters.get(i));
      }
    }
    Weights weights = new Weights(torch, copied, source, base.type(), true);
    return new WeightPlaces(
        base, null, new WeightPlaces.Copies(weights, parameters, places, source));
  }

  /**
   * A trained copy of the last blocks and of the last norm of a language model, on the states that
   * enter them. The caller closes it.
   *
   * @param folder that the hydra came from
   * @param layers the number of blocks
   */
  static Branch branch(Hydra hydra, ModelFolder folder, int layers) {
    ModelFamilies.Model model = requireCausalLm(folder);
    Torch torch = hydra.reference().torch();
    int first = model.spec().layers() - layers;
    int firstCopied = TrunkLayout.of(model.spec()).blockAt(first);
    WeightPlaces places =
        copies(
            torch,
            hydra.reference().weights(),
            model.family().parameters(model.spec()),
            i -> i >= firstCopied,
            source(folder, model));
    return new Branch(new Decoder(torch, model.spec(), places), places.trained(), first);
  }

  /** The values of a folder's parameters, an adapter of it merged into them. */
  private static Weights.Source source(ModelFolder folder, ModelFamilies.Model model) {
    Weights.Source own =
        (parameter, from, target) -> model.read(folder, parameter.name(), from, target);
    return folder.adapter().isEmpty()
        ? own
        : new StoredAdapter(folder.adapter().get(), model).merged(own);
  }

  private static ModelFamilies.Model requireCausalLm(ModelFolder folder) {
    ModelFamilies.Model model = ModelFamilies.of(folder);
    if (model.head() != ModelHead.CAUSAL_LM) {
      throw RlhfException.input(
          folder.configFile()
              + ": expected a language model ("
              + model.family().architecture(ModelHead.CAUSAL_LM)
              + "), found a reward model");
    }
    return model;
  }

  /**
   * Loads a reward model, or a language model's trunk under a fresh score head. The caller closes
   * it. Adapters are treated as by {@link #causalLm}; a new one trains a copy of the whole head.
   *
   * @param headSeed of a fresh head, which is drawn as Hugging Face draws it: normal with the
   *     configuration's initializer_range
   * @throws org.rlhf4j.core.RlhfException if anything in the folder does not fit
   */
  public static RewardModel rewardModel(
      Torch torch, ModelFolder folder, Options options, long headSeed) {
    ModelFamilies.Model model = underScoreHead(folder);
    String head = model.family().headName(model.head());
    double range = folder.config().path("initializer_range").asDouble(DEFAULT_INITIALIZER_RANGE);
    Weights.Source source =
        (parameter, from, target) -> {
          if (parameter.name().equals(head) && !folder.contains(head)) {
            draw(headSeed, range, from, target);
          } else {
            model.read(folder, parameter.name(), from, target);
          }
        };
    Start start = new Start(folder, model, model.parameters(), source);
    Options trained =
        new Options(
            options.type(), options.trainable(), withHead(options.lora(), head), options.seed());
    WeightPlaces places = places(torch, start, trained);
    return new RewardModel(torch, model.spec(), places);
  }

  /** What a folder's trunk is with a score head, be it its own or a fresh one. */
  private static ModelFamilies.Model underScoreHead(ModelFolder folder) {
    ModelFamilies.Model found = ModelFamilies.of(folder);
    return new ModelFamilies.Model(found.family(), ModelHead.SEQUENCE_CLASSIFICATION, found.spec());
  }

  /** As {@link #checkCausalLm}, for {@link #rewardModel}. */
  public static void checkRewardModel(ModelFolder folder, LoraSpec lora) {
    ModelFamilies.Model model = underScoreHead(folder);
    if (lora != null) {
      layout(folder, model, withHead(lora, model.family().headName(model.head())));
    }
  }

  private static LoraSpec withHead(LoraSpec lora, String head) {
    String module = head.substring(0, head.lastIndexOf('.'));
    if (lora == null || lora.modulesToSave().contains(module)) {
      return lora;
    }
    List<String> saved = new ArrayList<>(lora.modulesToSave());
    saved.add(module);
    return lora.withModules(lora.targetModules(), saved);
  }

  /** What a model is loaded from: its folder, and the values of its parameters but an adapter's. */
  private record Start(
      ModelFolder folder,
      ModelFamilies.Model model,
      List<ParameterSpec> parameters,
      Weights.Source source) {}

  private static WeightPlaces places(Torch torch, Start start, Options options) {
    ModelFolder folder = start.folder();
    StoredAdapter stored =
        folder.adapter().isEmpty()
            ? null
            : new StoredAdapter(folder.adapter().get(), ModelFamilies.of(folder));
    ElementType type = options.type();
    boolean otherHead = stored != null && stored.layout().model().head() != start.model().head();
    if (options.lora() == null && (options.trainable() || stored == null || otherHead)) {
      Weights.Source source = stored == null ? start.source() : stored.merged(start.source());
      return new WeightPlaces(
          new Weights(torch, start.parameters(), source, type, options.trainable()), null);
    }
    Weights base = new Weights(torch, start.parameters(), start.source(), type, false);
    if (options.lora() == null) {
      return new WeightPlaces(base, stored(torch, stored, options));
    }
    AdapterLayout layout = layout(folder, start.model(), options.lora());
    Weights.Source fresh = Adapter.fresh(layout, start.source(), options.seed());
    if (stored == null) {
      return new WeightPlaces(base, new Adapter(torch, layout, fresh, options));
    }
    Weights.Source goingOn =
        (parameter, from, target) -> {
          if (stored.contains(parameter)) {
            stored.fill(parameter, from, target);
          } else {
            fresh.fill(parameter, from, target);
          }
        };
    return new WeightPlaces(base, new Adapter(torch, layout, goingOn, options));
  }

  /** A new adapter's layout, which fits the model and the adapter that its folder may hold. */
  private static AdapterLayout layout(
      ModelFolder folder, ModelFamilies.Model model, LoraSpec lora) {
    AdapterLayout layout = new AdapterLayout(model, model.parameters(), lora);
    layout.requireAllKnown();
    if (folder.adapter().isPresent()) {
      new StoredAdapter(folder.adapter().get(), ModelFamilies.of(folder)).requireFits(layout);
    }
    return layout;
  }

  private static Adapter stored(Torch torch, StoredAdapter stored, Options options) {
    return new Adapter(torch, stored.layout(), stored::fill, options);
  }

  private static void draw(long seed, double range, long from, FloatBuffer target) {
    for (long i = from; target.hasRemaining(); i++) {
      target.put((float) (range * CounterRandom.gaussian(seed, RandomStream.HEAD_INIT, 0, 0, i)));
    }
  }
}
