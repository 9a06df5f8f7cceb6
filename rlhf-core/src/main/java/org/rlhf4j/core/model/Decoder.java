package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.model.WeightPlaces.Place;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Kernels;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * The trunk of a model: embedding, blocks and last norm, over padding-free batches. Its weights are
 * the first of {@link Weights}: the embedding, the learned places, what stands before the blocks,
 * the weights of each block, and what stands behind them; see {@link ModelFamily#parameters}.
 */
public final class Decoder implements AutoCloseable {
  /** Queries of one matrix product of attention; longer rows skip masked keys block by block. */
  public static final int QUERY_BLOCK = 160;

  /** The place of the first adapter in a block's list of weights. */
  private static final int FIRST_ADAPTER = 16;

  /** The places of its matrices: queries, keys and values; output; (gate and) up; down. */
  private static final int[] MATRICES = {2, 6, 11, 13};

  private final Torch torch;
  private final DecoderSpec spec;
  private final WeightPlaces weights;
  private final ElementType type;
  private final Kernels kernels;
  private final TensorScope scope;
  private final int queryBlock;
  private final Tensor empty;

  private final Place embedding;

  /** Null where places are not learned. */
  private final Place learnedPlaces;

  /** The weights as the kernels take them: {@link #empty} where the model has none. */
  private final Taken enterWeights;

  private final List<Taken> blockWeights = new ArrayList<>();
  private final Taken finishWeights;
  private Tensor slopes;
  private volatile Angles angles;

  /** A decoder over weights that stay the caller's. */
  public Decoder(Torch torch, DecoderSpec spec, Weights weights) {
    this(torch, spec, new WeightPlaces(weights, null), QUERY_BLOCK);
  }

  Decoder(Torch torch, DecoderSpec spec, WeightPlaces weights) {
    this(torch, spec, weights, QUERY_BLOCK);
  }

  Decoder(Torch torch, DecoderSpec spec, WeightPlaces weights, int queryBlock) {
    this.queryBlock = queryBlock;
    this.torch = torch;
    this.spec = spec;
    this.weights = weights;
    this.type = weights.base().type();
    this.scope = torch.scope();
    this.empty = torch.ops().convert(scope, scope.zeros(0), type);
    boolean learned = spec.positions() instanceof Positions.Learned;
    this.embedding = weights.at(0, 1);
    this.learnedPlaces = learned ? weights.at(1, 1) : null;
    TrunkLayout layout = TrunkLayout.of(spec);
    this.enterWeights = taken(layout.beforeBlocks(), layout.enter(), layout.enterProjections());
    for (int layer = 0; layer < spec.layers(); layer++) {
      blockWeights.add(
          taken(layout.blockAt(layer), layout.block(), layout.blockProjections(layer)));
    }
    this.finishWeights =
        taken(layout.blockAt(spec.layers()), layout.finish(), layout.finishProjections());
    this.slopes = empty;
    if (spec.positions() instanceof Positions.Alibi) {
      double[] exact = Positions.Alibi.slopes(spec.attention().heads());
      this.slopes = scope.of(toFloats(exact), exact.length, 1, 1);
    }
    this.angles = new Angles(empty, empty, 0);
    Map<String, Object> attributes = attributes(spec);
    attributes.putAll(adapterAttributes());
    this.kernels = Kernels.load(torch, "/org/rlhf4j/core/model/decoder.torch", attributes);
  }

  private static float[] toFloats(double[] values) {
    float[] floats = new float[values.length];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = (float) values[i];
    }
    return floats;
  }

  /** A kernel's list of weights. */
  private record Taken(List<Place> places) {
    List<Tensor> tensors() {
      return places.stream().map(Place::tensor).toList();
    }

    List<Place> trained() {
      return places.stream().filter(Place::isTrained).toList();
    }
  }

  private Taken taken(int from, List<Integer> counts, List<TrunkLayout.Projection> projections) {
    List<Place> places = new ArrayList<>();
    for (int count : counts) {
      places.add(count == 0 ? WeightPlaces.frozen(empty) : weights.at(from, count));
      from += count;
    }
    if (weights.adapter() != null) {
      for (TrunkLayout.Projection projection : projections) {
        places.addAll(weights.adapter().of(projection, empty, this::noOutput));
      }
    }
    return new Taken(places);
  }

  private Tensor noOutput(long outputs) {
    return torch.ops().convert(scope, scope.zeros(outputs, 0), type);
  }

  private Map<String, Object> adapterAttributes() {
    Adapter adapter = weights.adapter();
    AttentionSpec.Layout layout = spec.attention().projections().layout();
    // Each projection takes A as one tensor, and B for each of its parts.
    long output = FIRST_ADAPTER + 1 + (layout == AttentionSpec.Layout.APART ? 3 : 1);
    long up = output + 2;
    long down = up + 1 + (spec.mlp().gate() == MlpSpec.Gate.APART ? 2 : 1);
    return Map.of(
        "adapted",
        adapter != null,
        "adapter_scale",
        adapter == null ? 0.0 : adapter.layout().lora().scale(),
        "adapter_keep",
        adapter == null ? 1.0 : 1 - adapter.layout().lora().dropout(),
        "output_adapter",
        output,
        "up_adapter",
        up,
        "down_adapter",
        down);
  }

  static Map<String, Object> attributes(DecoderSpec spec) {
    AttentionSpec attention = spec.attention();
    AttentionSpec.Projections projections = attention.projections();
    Positions.Rotary rotary = spec.positions() instanceof Positions.Rotary found ? found : null;
    int rotated = rotary == null ? 0 : rotary.dimensions();
    Map<String, Object> attributes = new HashMap<>();
    attributes.put("norm_epsilon", spec.norm().epsilon());
    attributes.put("layer_norm", spec.norm().kind() == NormSpec.Kind.LAYER);
    attributes.put("norm_plus_one", spec.norm().kind() == NormSpec.Kind.RMS_PLUS_ONE);
    attributes.put("last_norm", spec.norm().last());
    attributes.put("heads", (long) attention.heads());
    attributes.put("kv_heads", (long) attention.keyValueHeads());
    attributes.put("groups", (long) (attention.heads() / attention.keyValueHeads()));
    attributes.put("head_dim", (long) attention.headDim());
    attributes.put("width", (long) attention.width());
    attributes.put("kv_width", (long) attention.keyWidth());
    attributes.put("score_scale", attention.scale());
    attributes.put("softcap", attention.softcap());
    attributes.put("window", (long) attention.reach().window());
    attributes.put("per_head", projections.layout() == AttentionSpec.Layout.PER_HEAD);
    attributes.put("projection_bias", projections.bias());
    attributes.put("output_bias", projections.outputBias());
    attributes.put("head_norms", projections.headNorms());
    attributes.put("rotary_half", (long) rotated / 2);
    attributes.put("rotary_rest", (long) (rotary == null ? 0 : attention.headDim() - rotated));
    attributes.put("rotary_neighbours", rotary != null && rotary.neighbours());
    attributes.put("alibi", spec.positions() instanceof Positions.Alibi);
    attributes.put("learned_positions", spec.positions() instanceof Positions.Learned);
    attributes.put("inner", (long) spec.mlp().width());
    attributes.put("gated", spec.mlp().gate() != MlpSpec.Gate.NONE);
    attributes.put("mlp_bias", spec.mlp().bias());
    attributes.put("activation", (long) spec.mlp().activation().ordinal());
    attributes.put("norm_after", spec.residual() == Residual.NORM_AFTER);
    attributes.put("norm_around", spec.residual() == Residual.NORM_AROUND);
    attributes.put(
        "parallel",
        spec.residual() == Residual.PARALLEL || spec.residual() == Residual.PARALLEL_ONE_NORM);
    attributes.put("second_norm", spec.residual().hasSecondNorm());
    attributes.put("transposed", spec.transposed());
    attributes.put("projected", spec.isProjected());
    attributes.put("embedding_norm", spec.embedding().norm());
    attributes.put("embedding_scale", spec.embedding().scale());
    return attributes;
  }

  /** Where a forward pass keeps a graph. */
  public enum Recording {
    /** No graph: for scoring and sampling. */
    NONE,
    /** One graph over all blocks. */
    FULL,
    /** The input of each block is kept, and its graph made again on the way back. */
    PER_BLOCK
  }

  /** The shape of a model. */
  public DecoderSpec spec() {
    return spec;
  }

  /**
   * One forward pass.
   *
   * @param scope owns the result
   * @throws org.rlhf4j.core.RlhfException if a row is longer than the model's context
   */
  public Pass forward(TensorScope scope, TokenBatch batch, Recording recording) {
    return forward(scope, batch, null, recording);
  }

  /**
   * States that a forward pass begins with, instead of with the tokens.
   *
   * @param layer the block that they enter
   * @param states of every token of the batch, {@code [tokens, hidden]}
   * @param trained whether {@link #backward} has to find their gradient; else they are constant
   */
  public record Start(int layer, Tensor states, boolean trained) {}

  /**
   * One forward pass from some block on.
   *
   * @param scope owns the result
   * @param start null to begin with the tokens
   * @throws org.rlhf4j.core.RlhfException if a row is longer than the model's context
   */
  public Pass forward(TensorScope scope, TokenBatch batch, Start start, Recording recording) {
    Inputs inputs = inputs(scope, batch);
    boolean drops = recording != Recording.NONE && weights.adapter() != null;
    Pass pass = new Pass(inputs, recording, start, drops ? weights.adapter().nextDraw() : null);
    ElementType[] types = {type};
    Tensor h;
    if (start != null) {
      boolean leaf = start.trained() && recording == Recording.FULL;
      h = leaf ? torch.ops().leaf(scope, start.states()) : start.states();
    } else if (recording == Recording.NONE) {
      h = inputs.enter(scope);
    } else {
      pass.tokens = startRows(scope, embedding, inputs.ids);
      pass.places = inputs.learned ? startRows(scope, learnedPlaces, inputs.positions) : empty;
      List<Tensor> entering = enterWeights.tensors();
      long[] seeds = seeds(pass.draw, spec.layers());
      h = kernels.record(scope, types, "enter", pass.tokens, pass.places, entering, seeds)[0];
      pass.entered = h;
      if (recording == Recording.PER_BLOCK) {
        h = torch.ops().leaf(scope, h);
      }
    }
    for (int layer = pass.first(); layer < spec.layers(); layer++) {
      Object[] arguments = with(inputs.block(h, layer), seeds(pass.draw, layer));
      Tensor[] out;
      if (recording == Recording.FULL) {
        out = kernels.record(scope, types, "block", arguments);
      } else {
        out = kernels.callList(scope, types, "block", arguments);
      }
      if (recording != Recording.NONE) {
        pass.blockInputs.add(h);
      } else if (start == null || h != start.states()) {
        h.close();
      }
      out[1].close();
      out[2].close();
      h = out[0];
    }
    if (recording == Recording.NONE) {
      pass.hidden = finish(scope, h);
    } else {
      pass.last = recording == Recording.FULL ? h : torch.ops().leaf(scope, h);
      long[] seeds = seeds(pass.draw, spec.layers() + 1);
      pass.hidden =
          kernels.record(scope, types, "finish", pass.last, finishWeights.tensors(), seeds)[0];
    }
    return pass;
  }

  /** The looked-up rows of a table that a graph starts from, as a leaf where they are trained. */
  private Tensor startRows(TensorScope scope, Place table, Tensor rows) {
    String function = table.isTrained() ? "leaf_rows" : "rows";
    return kernels.call(scope, type, function, table.tensor(), rows);
  }

  private long[] seeds(Adapter.Draw draw, int block) {
    return weights.adapter() == null ? new long[0] : weights.adapter().dropoutSeeds(draw, block);
  }

  private static Object[] with(Object[] arguments, long[] seeds) {
    Object[] more = Arrays.copyOf(arguments, arguments.length + 1);
    more[arguments.length] = seeds;
    return more;
  }

  /**
   * The states that enter a block, of every token; no graph leads to them.
   *
   * @param start null to begin with the tokens; else of this or of an earlier block
   * @return {@code [tokens, hidden]}
   */
  public Tensor statesBefore(TensorScope scope, TokenBatch batch, Start start, int layer) {
    Inputs inputs = inputs(scope, batch);
    Tensor h = start == null ? inputs.enter(scope) : start.states();
    for (int block = start == null ? 0 : start.layer(); block < layer; block++) {
      Object[] arguments = with(inputs.everywhere(h, block), seeds(null, block));
      Tensor[] out = kernels.callList(scope, new ElementType[] {type}, "block", arguments);
      if (start == null || h != start.states()) {
        h.close();
      }
      out[1].close();
      out[2].close();
      h = out[0];
    }
    return h;
  }

  /** The hidden states before each block and after the last, of every token, for inspection. */
  public List<Tensor> hiddenStates(TensorScope scope, TokenBatch batch) {
    Inputs inputs = inputs(scope, batch);
    List<Tensor> states = new ArrayList<>();
    states.add(inputs.enter(scope));
    for (int layer = 0; layer < spec.layers(); layer++) {
      Object[] arguments = with(inputs.everywhere(states.get(layer), layer), seeds(null, layer));
      states.add(kernels.callList(scope, new ElementType[] {type}, "block", arguments)[0]);
    }
    states.add(finish(scope, states.remove(spec.layers())));
    return states;
  }

  /**
   * The keys and values of every block for every token, after rotation, and the hidden states of
   * the selected positions: what decoding starts from.
   */
  public Prefill prefill(TensorScope scope, TokenBatch batch) {
    Inputs inputs = inputs(scope, batch);
    Tensor h = inputs.enter(scope);
    List<Tensor> keys = new ArrayList<>();
    List<Tensor> values = new ArrayList<>();
    for (int layer = 0; layer < spec.layers(); layer++) {
      Tensor[] out =
          kernels.callList(
              scope,
              new ElementType[] {type},
              "block",
              with(inputs.block(h, layer), seeds(null, layer)));
      h.close();
      h = out[0];
      keys.add(out[1]);
      values.add(out[2]);
    }
    return new Prefill(finish(scope, h), keys, values);
  }

  /**
   * A cache to decode from.
   *
   * @param prefill of a batch whose rows are the prompts
   * @param lengths the prompts' lengths
   * @param samples how many samples of each prompt are decoded side by side
   * @param weights see {@link CausalLm#forDecoding}
   * @return to be closed by the caller
   */
  public DecodingCache startDecoding(
      Prefill prefill, int[] lengths, int samples, List<Tensor> weights) {
    return new DecodingCache(
        torch, this, kernels, new DecodingCache.Start(prefill, lengths, samples, weights));
  }

  /**
   * The weights of all blocks for decoding, see {@link CausalLm#forDecoding}.
   *
   * @param copies whether their matrices are copied
   */
  List<Tensor> weightsForDecoding(TensorScope scope, boolean copies) {
    List<Tensor> all = new ArrayList<>();
    for (Taken block : blockWeights) {
      List<Tensor> tensors = new ArrayList<>(block.tensors());
      for (int matrix : MATRICES) {
        if (copies && tensors.get(matrix) != empty) {
          tensors.set(matrix, torch.ops().byColumns(scope, tensors.get(matrix)));
        }
      }
      all.addAll(tensors);
    }
    return all;
  }

  /**
   * What {@link #prefill} computes.
   *
   * @param hidden {@code [selected, hidden]}
   * @param keys for each block {@code [tokens, keyValueHeads, headDim]}
   * @param values likewise
   */
  public record Prefill(Tensor hidden, List<Tensor> keys, List<Tensor> values) {}

  /** The way back of a pass; see {@link #backward}. */
  public final class Pass {
    private final Inputs inputs;
    private final Recording recording;
    private final Start start;
    private final Adapter.Draw draw;
    private final List<Tensor> blockInputs = new ArrayList<>();
    private Tensor tokens;
    private Tensor places;
    private Tensor entered;
    private Tensor last;
    private Tensor hidden;

    private Pass(Inputs inputs, Recording recording, Start start, Adapter.Draw draw) {
      this.inputs = inputs;
      this.recording = recording;
      this.start = start;
      this.draw = draw;
    }

    private int first() {
      return start == null ? 0 : start.layer();
    }

    /** The states that enter a block that this pass computed, {@code [tokens, hidden]}. */
    public Tensor statesBefore(int layer) {
      return blockInputs.get(layer - first());
    }

    /** The normed hidden states of the selected positions, {@code [selected, hidden]}. */
    public Tensor hidden() {
      return hidden;
    }
  }

  /**
   * Turns the gradient of a pass's hidden states into those of the trunk's weights.
   *
   * @param ofHidden d loss / d hidden, of the hidden states' shape and type
   * @param into where the gradients of the weights are added
   */
  public void backward(TensorScope scope, Pass pass, Tensor ofHidden, Gradients into) {
    backward(scope, pass, new OfPass(ofHidden, 0, null), into);
  }

  /**
   * The gradient of what was read of a pass.
   *
   * @param ofHidden d loss / d hidden, of the hidden states' shape and type
   * @param layer a block whose states were read too, see {@link Pass#statesBefore}; trained weights
   *     stand below it
   * @param ofStates d loss / d states of that block; null where none were read
   */
  public record OfPass(Tensor ofHidden, int layer, Tensor ofStates) {}

  /**
   * Turns the gradient of what was read of a pass into those of the trunk's weights.
   *
   * @param into where the gradients of the weights are added
   * @return d loss / d states of a trained {@link Start}; null for passes without
   */
  public Tensor backward(TensorScope scope, Pass pass, OfPass read, Gradients into) {
    return switch (pass.recording) {
      case FULL -> backwardAtOnce(scope, pass, read, into);
      case PER_BLOCK -> backwardByBlocks(scope, pass, read, into);
      case NONE -> throw new IllegalStateException("this pass was made without a graph");
    };
  }

  private Tensor backwardAtOnce(TensorScope scope, Pass pass, OfPass read, Gradients into) {
    List<Place> all = new ArrayList<>();
    List<Tensor> inputs;
    if (pass.start == null) {
      all.addAll(enterWeights.trained());
      inputs = embedded(pass);
    } else {
      inputs = pass.start.trained() ? List.of(pass.blockInputs.get(0)) : List.of();
    }
    blockWeights.subList(pass.first(), spec.layers()).forEach(block -> all.addAll(block.trained()));
    all.addAll(finishWeights.trained());
    List<Tensor> outputs = new ArrayList<>(List.of(pass.hidden));
    List<Tensor> ofOutputs = new ArrayList<>(List.of(read.ofHidden()));
    if (read.ofStates() != null) {
      outputs.add(pass.statesBefore(read.layer()));
      ofOutputs.add(read.ofStates());
    }
    Tensor[] found = backwardOne(scope, new Step(outputs, inputs, all), ofOutputs, into);
    if (pass.start == null) {
      addEmbedded(pass, found, into);
      return null;
    }
    return pass.start.trained() ? found[0] : null;
  }

  private Tensor backwardByBlocks(TensorScope scope, Pass pass, OfPass read, Gradients into) {
    Step finish = new Step(List.of(pass.hidden), List.of(pass.last), finishWeights.trained());
    Tensor ofOutput = backwardOne(scope, finish, List.of(read.ofHidden()), into)[0];
    Step enter =
        pass.start == null
            ? new Step(List.of(pass.entered), embedded(pass), enterWeights.trained())
            : new Step(List.of(), List.of(), List.of());
    boolean startIsTrained = pass.start == null ? !enter.leaves().isEmpty() : pass.start.trained();
    int lowest = startIsTrained ? pass.first() : lowestTrainedBlock();
    for (int layer = spec.layers() - 1; layer >= lowest; layer--) {
      try (TensorScope block = scope.child()) {
        boolean goesOn = layer > lowest || startIsTrained;
        Tensor stored = pass.statesBefore(layer);
        Tensor input = goesOn ? torch.ops().leaf(block, stored) : stored;
        Object[] arguments = with(pass.inputs.block(input, layer), seeds(pass.draw, layer));
        Tensor[] out = kernels.record(block, new ElementType[] {type}, "block", arguments);
        List<Tensor> inputs = goesOn ? List.of(input) : List.of();
        Step step = new Step(List.of(out[0]), inputs, blockWeights.get(layer).trained());
        Tensor[] found = backwardOne(block, step, List.of(ofOutput), into);
        ofOutput = goesOn ? scope.keep(found[0]) : null;
        if (goesOn && read.ofStates() != null && read.layer() == layer) {
          torch.ops().addTo(List.of(ofOutput), List.of(read.ofStates()));
        }
      }
    }
    if (!startIsTrained) {
      return null;
    }
    if (pass.start == null) {
      addEmbedded(pass, backwardOne(scope, enter, List.of(ofOutput), into), into);
      return null;
    }
    return ofOutput;
  }

  /** Whether anything is trained that the states entering a block depend on. */
  public boolean trainsBelow(int layer) {
    return embedding.isTrained()
        || (learnedPlaces != null && learnedPlaces.isTrained())
        || !enterWeights.trained().isEmpty()
        || lowestTrainedBlock() < layer;
  }

  /** The first block with a trained weight; the number of blocks where there is none. */
  private int lowestTrainedBlock() {
    int layer = 0;
    while (layer < spec.layers() && blockWeights.get(layer).trained().isEmpty()) {
      layer++;
    }
    return layer;
  }

  /** A piece of the graph: its ends, what it starts from, and its trained weights. */
  private record Step(List<Tensor> outputs, List<Tensor> inputs, List<Place> weights) {
    List<Tensor> leaves() {
      List<Tensor> leaves = new ArrayList<>(inputs);
      weights.forEach(place -> leaves.add(place.tensor()));
      return leaves;
    }
  }

  /** Adds the gradients of a step's weights; returns those of its inputs first. */
  private Tensor[] backwardOne(
      TensorScope scope, Step step, List<Tensor> ofOutputs, Gradients into) {
    Tensor[] found = torch.ops().gradient(scope, step.outputs(), step.leaves(), ofOutputs);
    addApart(
        scope, step.weights(), List.of(found).subList(step.inputs().size(), found.length), into);
    return found;
  }

  /** The looked-up rows that have gradients. */
  private List<Tensor> embedded(Pass pass) {
    List<Tensor> rows = new ArrayList<>();
    if (embedding.isTrained()) {
      rows.add(pass.tokens);
    }
    if (learnedPlaces != null && learnedPlaces.isTrained()) {
      rows.add(pass.places);
    }
    return rows;
  }

  private void addEmbedded(Pass pass, Tensor[] found, Gradients into) {
    int next = 0;
    if (embedding.isTrained()) {
      into.addRows(embedding.first(), pass.inputs.ids, found[next++]);
    }
    if (learnedPlaces != null && learnedPlaces.isTrained()) {
      into.addRows(learnedPlaces.first(), pass.inputs.positions, found[next]);
    }
  }

  /** Adds the gradients of joined weights to those of the parameters that they are made of. */
  private void addApart(
      TensorScope scope, List<Place> places, List<Tensor> ofJoined, Gradients into) {
    List<Integer> indices = new ArrayList<>();
    List<Tensor> apart = new ArrayList<>();
    for (int i = 0; i < places.size(); i++) {
      Place place = places.get(i);
      long[] rows = new long[place.count()];
      for (int part = 0; part < rows.length; part++) {
        int index = place.first() + part;
        rows[part] = weights.trained().parameters().get(index).shape()[0];
        indices.add(index);
      }
      if (rows.length == 1) {
        apart.add(ofJoined.get(i));
      } else {
        apart.addAll(List.of(torch.ops().splitRows(scope, ofJoined.get(i), rows)));
      }
    }
    into.add(scope, indices, apart);
  }

  /** A batch on the device. */
  private final class Inputs {
    private final boolean learned = spec.positions() instanceof Positions.Learned;
    private final Tensor ids;

    /** Rows of the tables of places: of cosines and sines, or of the learned ones. */
    private final Tensor positions;

    private final Tensor cos;
    private final Tensor sin;
    private final Tensor selected;
    private final TokenBatch.Runs runs;
    private final TokenBatch.Runs lastRuns;
    private final Tensor[] masks;
    private final Tensor[] localMasks;
    private final Tensor[] lastMasks;

    private Inputs(TensorScope scope, TokenBatch batch) {
      this.positions = scope.of(Decoder.this.tableRows(batch.positions()), batch.tokens());
      this.ids = scope.of(batch.ids(), batch.tokens());
      Angles angles = angles(batch.longestRow());
      this.cos = rows(scope, angles.cosines(), positions);
      this.sin = rows(scope, angles.sines(), positions);
      int[] chosen = batch.selected();
      this.selected = scope.of(chosen, chosen.length);
      this.runs = batch.runs(false, queryBlock);
      this.lastRuns = batch.runs(true, queryBlock);
      AttentionSpec.Reach reach = spec.attention().reach();
      this.masks = masks(scope, runs, 0);
      this.localMasks =
          reach.localLayers().contains(true) ? masks(scope, runs, reach.window()) : masks;
      boolean lastIsLocal = reach.isLocal(spec.layers() - 1);
      this.lastMasks = masks(scope, lastRuns, lastIsLocal ? reach.window() : 0);
    }

    private Tensor[] masks(TensorScope scope, TokenBatch.Runs of, int window) {
      List<Tensor> places = new ArrayList<>();
      int[] keys = new int[of.places().size()];
      for (int b = 0; b < keys.length; b++) {
        int[] asking = of.places().get(b);
        places.add(scope.of(asking, asking.length));
        keys[b] = of.blocks()[2 * b + 1];
      }
      return kernels.callList(
          scope, new ElementType[] {type}, "masks", places, keys, (long) window, slopes, empty);
    }

    private Tensor enter(TensorScope scope) {
      return Decoder.this.enter(scope, ids, learned ? positions : empty);
    }

    /** The arguments of a block; the last one computes the selected positions only. */
    private Object[] block(Tensor h, int layer) {
      if (layer < spec.layers() - 1) {
        return everywhere(h, layer);
      }
      return new Object[] {
        h,
        cos,
        sin,
        true,
        selected,
        lastRuns.shape(),
        lastRuns.blocks(),
        lastMasks,
        blockWeights.get(layer).tensors()
      };
    }

    private Object[] everywhere(Tensor h, int layer) {
      Tensor[] seen = spec.attention().reach().isLocal(layer) ? localMasks : masks;
      return new Object[] {
        h,
        cos,
        sin,
        false,
        selected,
        runs.shape(),
        runs.blocks(),
        seen,
        blockWeights.get(layer).tensors()
      };
    }
  }

  /** The rows of the tables of places that belong to positions. */
  int[] tableRows(int[] positions) {
    int offset = spec.positions() instanceof Positions.Learned learned ? learned.offset() : 0;
    return Arrays.stream(positions).map(position -> position + offset).toArray();
  }

  /** Rows of a table of angles; empty where nothing is rotated. */
  Tensor rows(TensorScope scope, Tensor table, Tensor rows) {
    return table == empty ? empty : kernels.call(scope, type, "rows", table, rows);
  }

  /** What enters the first block: {@code [tokens, hidden]} of ids and rows of places. */
  Tensor enter(TensorScope scope, Tensor ids, Tensor rows) {
    Tensor tokens = kernels.call(scope, type, "rows", embedding.tensor(), ids);
    Tensor places =
        learnedPlaces == null
            ? empty
            : kernels.call(scope, type, "rows", learnedPlaces.tensor(), rows);
    ElementType[] types = {type};
    List<Tensor> entering = enterWeights.tensors();
    return kernels.callList(scope, types, "enter", tokens, places, entering, new long[0])[0];
  }

  /** What leaves the trunk, of the last block's hidden states. */
  Tensor finish(TensorScope scope, Tensor hidden) {
    ElementType[] types = {type};
    List<Tensor> finishing = finishWeights.tensors();
    return kernels.callList(scope, types, "finish", hidden, finishing, new long[0])[0];
  }

  private Inputs inputs(TensorScope scope, TokenBatch batch) {
    requireLength(batch.longestRow());
    return new Inputs(scope, batch);
  }

  /** Refuses rows that the model was not made for. */
  public void requireLength(int tokens) {
    if (tokens > spec.maxPositions()) {
      throw RlhfException.input(
          "a row of "
              + tokens
              + " tokens does not fit the model's context: max_position_embeddings is "
              + spec.maxPositions());
    }
  }

  /**
   * What the angles of the first positions are rotated by; empty tensors where nothing is.
   *
   * @param cosines {@code [positions, 1, rotated / 2]}
   * @param sines likewise
   */
  record Angles(Tensor cosines, Tensor sines, int positions) {}

  /**
   * The tables of at least so many positions, made anew where more are needed than ever before.
   * Those that they replace may be in use in another thread and live as long as the decoder;
   * together they are less than twice the newest.
   */
  Angles angles(int needed) {
    if (needed > angles.positions() && spec.positions() instanceof Positions.Rotary rotary) {
      synchronized (this) {
        if (needed > angles.positions()) {
          angles = angles(rotary, needed);
        }
      }
    }
    return angles;
  }

  private Angles angles(Positions.Rotary rotary, int needed) {
    int count = Math.min(spec.maxPositions(), Math.max(256, Integer.highestOneBit(needed) * 2));
    int half = rotary.dimensions() / 2;
    double[] frequencies = rotary.rope().inverseFrequencies(rotary.dimensions());
    float[] cos = new float[count * half];
    float[] sin = new float[count * half];
    for (int position = 0; position < count; position++) {
      for (int i = 0; i < half; i++) {
        float angle = position * (float) frequencies[i];
        cos[position * half + i] = (float) Math.cos(angle);
        sin[position * half + i] = (float) Math.sin(angle);
      }
    }
    return new Angles(table(cos, count, half), table(sin, count, half), count);
  }

  private Tensor table(float[] values, int positions, int half) {
    Tensor exact = scope.of(values, positions, 1, half);
    if (type == ElementType.FP32) {
      return exact;
    }
    try (exact) {
      return torch.ops().convert(scope, exact, type);
    }
  }

  /** A tensor without elements, for what a model does not have. */
  Tensor empty() {
    return empty;
  }

  @Override
  public void close() {
    kernels.close();
    scope.close();
  }
}
