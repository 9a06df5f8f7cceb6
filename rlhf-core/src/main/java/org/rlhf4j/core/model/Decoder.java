package org.rlhf4j.core.model;

import java.util.ArrayList;
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
 * The trunk of a model: embedding, blocks and final norm, over padding-free batches. Its weights
 * are the first of {@link Weights}: the embedding, the weights of each block, the final norm.
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
  private final List<Integer> joins;
  private final int weightsPerBlock;

  /** The weights of all blocks as the kernels take them. */
  private final List<Tensor> blocks = new ArrayList<>();

  private final int queryBlock;
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
    this.joins = joins(spec);
    this.weightsPerBlock = joins.stream().mapToInt(Integer::intValue).sum();
    for (int layer = 0; layer < spec.layers(); layer++) {
      blocks.addAll(joinedWeights(1 + layer * weightsPerBlock));
    }
    this.kernels =
        Kernels.load(torch, "/org/rlhf4j/core/model/decoder.torch", attributes(spec, type));
  }

  /**
   * How many neighbouring weights of a block the kernels take as one: the norm of attention;
   * queries, keys and values; its output; the norm of the MLP; gate and up; down; and their biases.
   */
  private static List<Integer> joins(DecoderSpec spec) {
    List<Integer> joins = new ArrayList<>(List.of(1, 3, 1, 1, 2, 1));
    if (spec.attentionBias()) {
      joins.addAll(List.of(3, 1));
    }
    if (spec.mlpBias()) {
      joins.addAll(List.of(2, 1));
    }
    return List.copyOf(joins);
  }

  private List<Tensor> joinedWeights(int from) {
    List<Tensor> joined = new ArrayList<>();
    for (int count : joins) {
      joined.add(count == 1 ? weights.get(from) : weights.joined(from, from + count));
      from += count;
    }
    return joined;
  }

  static Map<String, Object> attributes(DecoderSpec spec, ElementType type) {
    Map<String, Object> attributes = new HashMap<>();
    attributes.put("bf16", type == ElementType.BF16);
    attributes.put("norm_epsilon", spec.normEpsilon());
    attributes.put("heads", (long) spec.heads());
    attributes.put("kv_heads", (long) spec.keyValueHeads());
    attributes.put("groups", (long) (spec.heads() / spec.keyValueHeads()));
    attributes.put("head_dim", (long) spec.headDim());
    attributes.put("half_dim", (long) (spec.headDim() / 2));
    attributes.put("width", (long) spec.heads() * spec.headDim());
    attributes.put("kv_width", (long) spec.keyValueHeads() * spec.headDim());
    attributes.put("inner", (long) spec.intermediateSize());
    attributes.put("score_scale", 1 / Math.sqrt(spec.headDim()));
    attributes.put("attention_bias", spec.attentionBias());
    attributes.put("mlp_bias", spec.mlpBias());
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
    ElementType[] blockTypes = {type};
    Tensor h;
    if (recording == Recording.NONE) {
      h = kernels.call(scope, type, "rows", weights.get(0), inputs.ids);
    } else {
      h = kernels.call(scope, type, "leaf_rows", weights.get(0), inputs.ids);
      pass.embedded = h;
    }
    for (int layer = 0; layer < spec.layers(); layer++) {
      Object[] arguments = inputs.block(h, layer);
      Tensor[] out;
      if (recording == Recording.FULL) {
        out = kernels.record(scope, blockTypes, "block", arguments);
      } else {
        out = kernels.callList(scope, blockTypes, "block", arguments);
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
    Tensor[] finished;
    if (recording == Recording.NONE) {
      finished = kernels.callList(scope, blockTypes, "finish", h, norm());
    } else {
      pass.last = recording == Recording.FULL ? h : torch.ops().leaf(scope, h);
      finished = kernels.record(scope, blockTypes, "finish", pass.last, norm());
    }
    pass.hidden = finished[0];
    return pass;
  }

  /** The hidden states before each block and after the last, of every token, for inspection. */
  public List<Tensor> hiddenStates(TensorScope scope, TokenBatch batch) {
    Inputs inputs = inputs(scope, batch);
    List<Tensor> states = new ArrayList<>();
    states.add(kernels.call(scope, type, "rows", weights.get(0), inputs.ids));
    for (int layer = 0; layer < spec.layers(); layer++) {
      Object[] arguments = inputs.everywhere(states.get(layer), layer);
      states.add(kernels.callList(scope, new ElementType[] {type}, "block", arguments)[0]);
    }
    Tensor last = states.remove(spec.layers());
    states.add(kernels.callList(scope, new ElementType[] {type}, "finish", last, norm())[0]);
    return states;
  }

  /**
   * The keys and values of every block for every token, after rotation, and the hidden states of
   * the selected positions: what decoding starts from.
   */
  public Prefill prefill(TensorScope scope, TokenBatch batch) {
    Inputs inputs = inputs(scope, batch);
    Tensor h = kernels.call(scope, type, "rows", weights.get(0), inputs.ids);
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
    Tensor hidden = kernels.callList(scope, new ElementType[] {type}, "finish", h, norm())[0];
    return new Prefill(hidden, keys, values);
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
    return new DecodingCache(torch, this, kernels, weights, prefill, lengths, samples);
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
    private Tensor embedded;
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
    Tensor ofEmbedded;
    if (pass.recording == Recording.FULL) {
      List<Tensor> leaves = new ArrayList<>();
      leaves.add(pass.embedded);
      leaves.addAll(blocks);
      leaves.add(norm());
      Tensor[] found = torch.ops().gradient(scope, List.of(pass.hidden), leaves, List.of(ofHidden));
      ofEmbedded = found[0];
      List<Tensor> ofWeights = apart(scope, 1, List.of(found).subList(1, found.length - 1));
      ofWeights.add(found[found.length - 1]);
      into.add(scope, 1, ofWeights);
    } else if (pass.recording == Recording.PER_BLOCK) {
      ofEmbedded = backwardByBlocks(scope, pass, ofHidden, into);
    } else {
      throw new IllegalStateException("this pass was made without a graph");
    }
    into.addRows(0, pass.inputs.ids, ofEmbedded);
  }

  private Tensor backwardByBlocks(TensorScope scope, Pass pass, Tensor ofHidden, Gradients into) {
    int normAt = 1 + spec.layers() * weightsPerBlock;
    Tensor[] ofNorm =
        torch
            .ops()
            .gradient(scope, List.of(pass.hidden), List.of(pass.last, norm()), List.of(ofHidden));
    into.add(scope, normAt, List.of(ofNorm[1]));
    Tensor ofOutput = ofNorm[0];
    for (int layer = spec.layers() - 1; layer >= 0; layer--) {
      try (TensorScope block = scope.child()) {
        Tensor input = torch.ops().leaf(block, pass.blockInputs.get(layer));
        Tensor[] out =
            kernels.record(
                block, new ElementType[] {type}, "block", pass.inputs.block(input, layer));
        List<Tensor> leaves = new ArrayList<>();
        leaves.add(input);
        leaves.addAll(blockWeights(layer));
        Tensor[] found = torch.ops().gradient(block, List.of(out[0]), leaves, List.of(ofOutput));
        ofOutput = scope.keep(found[0]);
        int first = 1 + layer * weightsPerBlock;
        into.add(scope, first, apart(scope, first, List.of(found).subList(1, found.length)));
      }
    }
    return ofOutput;
  }

  private List<Tensor> blockWeights(int layer) {
    return blocks.subList(layer * joins.size(), (layer + 1) * joins.size());
  }

  /** The gradients of the weights of some blocks from those of the joined weights. */
  private List<Tensor> apart(TensorScope scope, int first, List<Tensor> ofJoined) {
    List<Tensor> apart = new ArrayList<>();
    for (int i = 0; i < ofJoined.size(); i++) {
      int count = joins.get(i % joins.size());
      long[] rows = new long[count];
      for (int part = 0; part < count; part++) {
        rows[part] = weights.parameters().get(first + apart.size() + part).shape()[0];
      }
      apart.addAll(List.of(torch.ops().splitRows(scope, ofJoined.get(i), rows)));
    }
    return apart;
  }

  /** A batch on the device. */
  private final class Inputs {
    private final Tensor ids;
    private final Tensor cos;
    private final Tensor sin;
    private final Tensor selected;
    private final TokenBatch.Runs runs;
    private final TokenBatch.Runs lastRuns;
    private final Tensor[] masks;
    private final Tensor[] lastMasks;

    private Inputs(TensorScope scope, TokenBatch batch) {
      int[] places = batch.positions();
      Tensor positions = scope.of(places, places.length);
      this.ids = scope.of(batch.ids(), batch.tokens());
      this.cos = kernels.call(scope, type, "rows", cosines, positions);
      this.sin = kernels.call(scope, type, "rows", sines, positions);
      int[] chosen = batch.selected();
      this.selected = scope.of(chosen, chosen.length);
      this.runs = batch.runs(false, queryBlock);
      this.lastRuns = batch.runs(true, queryBlock);
      this.masks = masks(scope, runs);
      this.lastMasks = masks(scope, lastRuns);
    }

    private Tensor[] masks(TensorScope scope, TokenBatch.Runs of) {
      List<Tensor> places = new ArrayList<>();
      int[] keys = new int[of.places().size()];
      for (int b = 0; b < keys.length; b++) {
        int[] asking = of.places().get(b);
        places.add(scope.of(asking, asking.length));
        keys[b] = of.blocks()[2 * b + 1];
      }
      return kernels.callList(scope, new ElementType[] {type}, "masks", places, keys, cos);
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
        blockWeights(layer)
      };
    }

    private Object[] everywhere(Tensor h, int layer) {
      return new Object[] {
        h, cos, sin, false, selected, runs.shape(), runs.blocks(), masks, blockWeights(layer)
      };
    }
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
    if (needed <= tablePositions) {
      return;
    }
    int count = Math.min(spec.maxPositions(), Math.max(256, Integer.highestOneBit(needed) * 2));
    int half = spec.headDim() / 2;
    double[] frequencies = spec.rope().inverseFrequencies(spec.headDim());
    float[] cos = new float[count * half];
    float[] sin = new float[count * half];
    for (int position = 0; position < count; position++) {
      for (int i = 0; i < half; i++) {
        float angle = position * (float) frequencies[i];
        cos[position * half + i] = (float) Math.cos(angle);
        sin[position * half + i] = (float) Math.sin(angle);
      }
    }
    if (cosines != null) {
      cosines.close();
      sines.close();
    }
    cosines = table(cos, count, half);
    sines = table(sin, count, half);
    tablePositions = count;
  }

  private Tensor table(float[] values, int positions, int half) {
    return torch.ops().convert(scope, scope.of(values, positions, 1, half), type);
  }

  /** Cosines of the positions so far, {@code [positions, 1, headDim / 2]}. */
  Tensor cosines() {
    return cosines;
  }

  /** Sines of the positions so far, {@code [positions, 1, headDim / 2]}. */
  Tensor sines() {
    return sines;
  }

  /** The weights of all blocks as the kernels take them, {@link #tensorsPerBlock} for each. */
  List<Tensor> blocks() {
    return blocks;
  }

  /** The number of tensors that hold the weights of one block. */
  int tensorsPerBlock() {
    return joins.size();
  }

  /** The last norm. */
  Tensor norm() {
    return weights.get(1 + spec.layers() * weightsPerBlock);
  }

  @Override
  public void close() {
    kernels.close();
    scope.close();
  }
}
