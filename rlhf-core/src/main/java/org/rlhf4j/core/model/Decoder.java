package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.RlhfException;
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

  private final Torch torch;
  private final DecoderSpec spec;
  private final Weights weights;
  private final ElementType type;
  private final Kernels kernels;
  private final TensorScope scope;
  private final Layout layout;
  private final int queryBlock;
  private final Tensor empty;

  /** The weights as the kernels take them: {@link #empty} where the model has none. */
  private final List<Tensor> enterWeights;

  private final List<Tensor> blockWeights = new ArrayList<>();
  private final List<Tensor> finishWeights;
  private Tensor slopes;
  private Tensor cosines;
  private Tensor sines;
  private int tablePositions;

  /** A decoder over weights that stay the caller's. */
  public Decoder(Torch torch, DecoderSpec spec, Weights weights) {
    this(torch, spec, weights, QUERY_BLOCK);
  }

  Decoder(Torch torch, DecoderSpec spec, Weights weights, int queryBlock) {
    this.queryBlock = queryBlock;
    this.torch = torch;
    this.spec = spec;
    this.weights = weights;
    this.type = weights.type();
    this.scope = torch.scope();
    this.layout = Layout.of(spec);
    this.empty = torch.ops().convert(scope, scope.zeros(0), type);
    this.enterWeights = joined(layout.beforeBlocks(), layout.enter());
    for (int layer = 0; layer < spec.layers(); layer++) {
      blockWeights.addAll(joined(layout.blockAt(layer), layout.block()));
    }
    this.finishWeights = joined(layout.blockAt(spec.layers()), layout.finish());
    this.slopes = empty;
    if (spec.positions() instanceof Positions.Alibi) {
      double[] exact = Positions.Alibi.slopes(spec.attention().heads());
      this.slopes = scope.of(toFloats(exact), exact.length, 1, 1);
    }
    this.cosines = empty;
    this.sines = empty;
    this.kernels = Kernels.load(torch, "/org/rlhf4j/core/model/decoder.torch", attributes(spec));
  }

  private static float[] toFloats(double[] values) {
    float[] floats = new float[values.length];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = (float) values[i];
    }
    return floats;
  }

  /**
   * Where the trunk's weights stand among the parameters. Each list says for every place in a
   * kernel's list of weights how many neighbouring parameters it takes as one tensor, 0 for none.
   */
  private record Layout(
      int beforeBlocks, List<Integer> enter, List<Integer> block, List<Integer> finish) {

    static Layout of(DecoderSpec spec) {
      AttentionSpec.Projections projections = spec.attention().projections();
      int bias = spec.norm().hasBias() ? 1 : 0;
      int qkv = projections.layout() == AttentionSpec.Layout.APART ? 3 : 1;
      int headNorm = projections.headNorms() ? 1 : 0;
      int around = spec.residual() == Residual.NORM_AROUND ? 1 : 0;
      int second = spec.residual().hasSecondNorm() ? 1 : 0;
      int up = spec.mlp().gate() == MlpSpec.Gate.APART ? 2 : 1;
      int mlpBias = spec.mlp().bias() ? 1 : 0;
      int projected = spec.isProjected() ? 1 : 0;
      int embeddingNorm = spec.embedding().norm() ? 1 : 0;
      int last = spec.norm().last() ? 1 : 0;
      return new Layout(
          spec.positions() instanceof Positions.Learned ? 2 : 1,
          List.of(projected, embeddingNorm, embeddingNorm * bias),
          List.of(
              1,
              bias,
              qkv,
              projections.bias() ? qkv : 0,
              headNorm,
              headNorm,
              1,
              projections.outputBias() ? 1 : 0,
              around,
              second,
              second * bias,
              up,
              mlpBias * up,
              1,
              mlpBias,
              around),
          List.of(last, last * bias, projected));
    }

    int blockAt(int layer) {
      return beforeBlocks + sum(enter) + layer * sum(block);
    }

    static int sum(List<Integer> counts) {
      return counts.stream().mapToInt(Integer::intValue).sum();
    }
  }

  private List<Tensor> joined(int from, List<Integer> counts) {
    List<Tensor> joined = new ArrayList<>();
    for (int count : counts) {
      joined.add(
          switch (count) {
            case 0 -> empty;
            case 1 -> weights.get(from);
            default -> weights.joined(from, from + count);
          });
      from += count;
    }
    return joined;
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
    Inputs inputs = inputs(scope, batch);
    Pass pass = new Pass(inputs, recording);
    ElementType[] types = {type};
    Tensor h;
    if (recording == Recording.NONE) {
      h = inputs.enter(scope);
    } else {
      pass.tokens = kernels.call(scope, type, "leaf_rows", weights.get(0), inputs.ids);
      pass.places = inputs.learned ? inputs.tableRows(scope, "leaf_rows") : empty;
      h = kernels.record(scope, types, "enter", pass.tokens, pass.places, enterWeights)[0];
      pass.entered = h;
      if (recording == Recording.PER_BLOCK) {
        h = torch.ops().leaf(scope, h);
      }
    }
    for (int layer = 0; layer < spec.layers(); layer++) {
      Object[] arguments = inputs.block(h, layer);
      Tensor[] out;
      if (recording == Recording.FULL) {
        out = kernels.record(scope, types, "block", arguments);
      } else {
        out = kernels.callList(scope, types, "block", arguments);
        if (recording == Recording.PER_BLOCK) {
          pass.blockInputs.add(h);
        } else {
          h.close();
        }
      }
      out[1].close();
      out[2].close();
      h = out[0];
    }
    if (recording == Recording.NONE) {
      pass.hidden = finish(scope, h);
    } else {
      pass.last = recording == Recording.FULL ? h : torch.ops().leaf(scope, h);
      pass.hidden = kernels.record(scope, types, "finish", pass.last, finishWeights)[0];
    }
    return pass;
  }

  /** The hidden states before each block and after the last, of every token, for inspection. */
  public List<Tensor> hiddenStates(TensorScope scope, TokenBatch batch) {
    Inputs inputs = inputs(scope, batch);
    List<Tensor> states = new ArrayList<>();
    states.add(inputs.enter(scope));
    for (int layer = 0; layer < spec.layers(); layer++) {
      Object[] arguments = inputs.everywhere(states.get(layer), layer);
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
          kernels.callList(scope, new ElementType[] {type}, "block", inputs.block(h, layer));
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
   * @return to be closed by the caller
   */
  public DecodingCache startDecoding(Prefill prefill, int[] lengths, int samples) {
    return new DecodingCache(torch, this, kernels, type, prefill, lengths, samples);
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
    private final List<Tensor> blockInputs = new ArrayList<>();
    private Tensor tokens;
    private Tensor places;
    private Tensor entered;
    private Tensor last;
    private Tensor hidden;

    private Pass(Inputs inputs, Recording recording) {
      this.inputs = inputs;
      this.recording = recording;
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
    switch (pass.recording) {
      case FULL -> backwardAtOnce(scope, pass, ofHidden, into);
      case PER_BLOCK -> backwardByBlocks(scope, pass, ofHidden, into);
      case NONE -> throw new IllegalStateException("this pass was made without a graph");
    }
  }

  private void backwardAtOnce(TensorScope scope, Pass pass, Tensor ofHidden, Gradients into) {
    List<Tensor> leaves = new ArrayList<>(embedded(pass));
    int embedded = leaves.size();
    leaves.addAll(present(enterWeights));
    leaves.addAll(present(blockWeights));
    leaves.addAll(present(finishWeights));
    Tensor[] found = torch.ops().gradient(scope, List.of(pass.hidden), leaves, List.of(ofHidden));
    List<Integer> counts = new ArrayList<>(layout.enter());
    for (int layer = 0; layer < spec.layers(); layer++) {
      counts.addAll(layout.block());
    }
    counts.addAll(layout.finish());
    addApart(
        scope, layout.beforeBlocks(), counts, List.of(found).subList(embedded, found.length), into);
    addEmbedded(pass, found, into);
  }

  private void backwardByBlocks(TensorScope scope, Pass pass, Tensor ofHidden, Gradients into) {
    Tensor ofOutput =
        backwardOne(
            scope,
            new Step(pass.hidden, List.of(pass.last), finishWeights, layout.finish()),
            layout.blockAt(spec.layers()),
            ofHidden,
            into)[0];
    for (int layer = spec.layers() - 1; layer >= 0; layer--) {
      try (TensorScope block = scope.child()) {
        Tensor input = torch.ops().leaf(block, pass.blockInputs.get(layer));
        Tensor[] out =
            kernels.record(
                block, new ElementType[] {type}, "block", pass.inputs.block(input, layer));
        Step step = new Step(out[0], List.of(input), ofLayer(layer), layout.block());
        ofOutput = scope.keep(backwardOne(block, step, layout.blockAt(layer), ofOutput, into)[0]);
      }
    }
    Step step = new Step(pass.entered, embedded(pass), enterWeights, layout.enter());
    addEmbedded(pass, backwardOne(scope, step, layout.beforeBlocks(), ofOutput, into), into);
  }

  /** A piece of the graph: its end, what it starts from, and its weights as a kernel takes them. */
  private record Step(
      Tensor output, List<Tensor> inputs, List<Tensor> weights, List<Integer> counts) {}

  /** Adds the gradients of a step's weights; returns those of its inputs first. */
  private Tensor[] backwardOne(
      TensorScope scope, Step step, int first, Tensor ofOutput, Gradients into) {
    List<Tensor> leaves = new ArrayList<>(step.inputs());
    leaves.addAll(present(step.weights()));
    Tensor[] found = torch.ops().gradient(scope, List.of(step.output()), leaves, List.of(ofOutput));
    List<Tensor> ofWeights = List.of(found).subList(step.inputs().size(), found.length);
    addApart(scope, first, step.counts(), ofWeights, into);
    return found;
  }

  private static List<Tensor> embedded(Pass pass) {
    return pass.inputs.learned ? List.of(pass.tokens, pass.places) : List.of(pass.tokens);
  }

  private static void addEmbedded(Pass pass, Tensor[] found, Gradients into) {
    into.addRows(0, pass.inputs.ids, found[0]);
    if (pass.inputs.learned) {
      into.addRows(1, pass.inputs.positions, found[1]);
    }
  }

  private List<Tensor> present(List<Tensor> taken) {
    return taken.stream().filter(weight -> weight != empty).toList();
  }

  private List<Tensor> ofLayer(int layer) {
    int count = layout.block().size();
    return blockWeights.subList(layer * count, (layer + 1) * count);
  }

  /** Adds the gradients of joined weights to those of the parameters that they are made of. */
  private void addApart(
      TensorScope scope, int first, List<Integer> counts, List<Tensor> ofJoined, Gradients into) {
    List<Tensor> apart = new ArrayList<>();
    int next = 0;
    for (int count : counts) {
      if (count == 1) {
        apart.add(ofJoined.get(next++));
      } else if (count > 1) {
        long[] rows = new long[count];
        for (int part = 0; part < count; part++) {
          rows[part] = weights.parameters().get(first + apart.size() + part).shape()[0];
        }
        apart.addAll(List.of(torch.ops().splitRows(scope, ofJoined.get(next++), rows)));
      }
    }
    if (!apart.isEmpty()) {
      into.add(scope, first, apart);
    }
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
      this.cos = angles(scope, cosines, positions);
      this.sin = angles(scope, sines, positions);
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

    private Tensor tableRows(TensorScope scope, String function) {
      return kernels.call(scope, type, function, weights.get(1), positions);
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
        h, cos, sin, true, selected, lastRuns.shape(), lastRuns.blocks(), lastMasks, ofLayer(layer)
      };
    }

    private Object[] everywhere(Tensor h, int layer) {
      Tensor[] seen = spec.attention().reach().isLocal(layer) ? localMasks : masks;
      return new Object[] {
        h, cos, sin, false, selected, runs.shape(), runs.blocks(), seen, ofLayer(layer)
      };
    }
  }

  /** The rows of the tables of places that belong to positions. */
  int[] tableRows(int[] positions) {
    int offset = spec.positions() instanceof Positions.Learned learned ? learned.offset() : 0;
    return Arrays.stream(positions).map(position -> position + offset).toArray();
  }

  /** Cosines or sines of places; empty where nothing is rotated. */
  Tensor angles(TensorScope scope, Tensor table, Tensor rows) {
    return table == empty ? empty : kernels.call(scope, type, "rows", table, rows);
  }

  /** What enters the first block: {@code [tokens, hidden]} of ids and rows of places. */
  Tensor enter(TensorScope scope, Tensor ids, Tensor rows) {
    Tensor tokens = kernels.call(scope, type, "rows", weights.get(0), ids);
    Tensor places =
        spec.positions() instanceof Positions.Learned
            ? kernels.call(scope, type, "rows", weights.get(1), rows)
            : empty;
    return kernels
        .callList(scope, new ElementType[] {type}, "enter", tokens, places, enterWeights)[0];
  }

  /** What leaves the trunk, of the last block's hidden states. */
  Tensor finish(TensorScope scope, Tensor hidden) {
    return kernels.callList(scope, new ElementType[] {type}, "finish", hidden, finishWeights)[0];
  }

  private Inputs inputs(TensorScope scope, TokenBatch batch) {
    requireLength(batch.longestRow());
    requirePositions(batch.longestRow());
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

  /** Cosines and sines of all angles, made once for as many positions as were ever needed. */
  void requirePositions(int needed) {
    if (needed <= tablePositions || !(spec.positions() instanceof Positions.Rotary rotary)) {
      return;
    }
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
    if (cosines != empty) {
      cosines.close();
      sines.close();
    }
    cosines = table(cos, count, half);
    sines = table(sin, count, half);
    tablePositions = count;
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

  /** Cosines of the positions so far, {@code [positions, 1, rotated / 2]}; may be empty. */
  Tensor cosines() {
    return cosines;
  }

  /** Sines likewise. */
  Tensor sines() {
    return sines;
  }

  /** A tensor without elements, for what a model does not have. */
  Tensor empty() {
    return empty;
  }

  /** The weights of all blocks as the kernels take them. */
  List<Tensor> blockWeights() {
    return blockWeights;
  }

  @Override
  public void close() {
    kernels.close();
    scope.close();
  }
}
