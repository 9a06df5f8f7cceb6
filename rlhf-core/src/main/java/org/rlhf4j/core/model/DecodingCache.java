package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Kernels;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * The keys and values of a batch that is being decoded. Those of a prompt are stored once for all
 * its samples; each slot (one sample) has its own for the tokens after it. Slots of a prompt lie
 * together, and every prompt has the same number of slots.
 */
public final class DecodingCache implements AutoCloseable {
  private static final int FIRST_CAPACITY = 64;
  private static final int POSITIONS_OF_KEYS = 2;
  private static final int POSITIONS_OF_VALUES = 1;

  private final Decoder decoder;
  private final Kernels kernels;
  private final ElementType type;
  private final List<Tensor> weights;
  private final double[] slopes;
  private TensorScope scope;
  private final Torch torch;
  private List<Tensor> promptKeys;
  private List<Tensor> promptValues;
  private List<Tensor> ownKeys;
  private List<Tensor> ownValues;

  /** For layers that see all of a prompt, and for local ones. */
  private List<Tensor> promptMasks;

  private int[] promptLengths;
  private int samples;
  private int own;
  private int capacity;

  /**
   * Prompts that were read.
   *
   * @param prefill of a batch whose rows are the prompts, one after the other
   * @param lengths the prompts' lengths
   * @param samples slots of each prompt
   * @param weights of all blocks, see {@link CausalLm#forDecoding}
   */
  record Start(Decoder.Prefill prefill, int[] lengths, int samples, List<Tensor> weights) {}

  /** Starts from prompts that were read. */
  DecodingCache(Torch torch, Decoder decoder, Kernels kernels, Start start) {
    Decoder.Prefill prefill = start.prefill();
    int[] lengths = start.lengths();
    this.torch = torch;
    this.decoder = decoder;
    this.kernels = kernels;
    this.weights = start.weights();
    this.type = prefill.hidden().type();
    this.scope = torch.scope();
    this.slopes =
        decoder.spec().positions() instanceof Positions.Alibi
            ? Positions.Alibi.slopes(decoder.spec().attention().heads())
            : new double[0];
    this.promptLengths = lengths.clone();
    this.samples = start.samples();
    int longest = Arrays.stream(lengths).max().orElseThrow();
    int[] rows = new int[lengths.length * longest];
    int first = 0;
    for (int p = 0; p < lengths.length; p++) {
      for (int t = 0; t < lengths[p]; t++) {
        rows[p * longest + t] = first + t;
      }
      first += lengths[p];
    }
    try (TensorScope step = scope.child()) {
      Tensor picked = step.of(rows, rows.length);
      this.promptKeys = gather("gather_keys", prefill.keys(), picked, longest);
      this.promptValues = gather("gather_values", prefill.values(), picked, longest);
    }
    this.promptMasks = promptMasks();
    this.capacity = FIRST_CAPACITY;
    this.ownKeys = empty("empty_keys");
    this.ownValues = empty("empty_values");
  }

  private List<Tensor> gather(String function, List<Tensor> flat, Tensor rows, int length) {
    List<Tensor> gathered = new ArrayList<>();
    for (Tensor layer : flat) {
      gathered.add(
          kernels.call(
              scope, type, function, layer, rows, (long) promptLengths.length, (long) length));
    }
    return gathered;
  }

  private List<Tensor> promptMasks() {
    AttentionSpec.Reach reach = decoder.spec().attention().reach();
    Tensor full = promptMask(scope, 0);
    return List.of(
        full, reach.localLayers().contains(true) ? promptMask(scope, reach.window()) : full);
  }

  /**
   * What is added to the scores of the prompts' keys, {@code [prompts * keyValueHeads, 1,
   * longest]}: minus infinity behind a prompt's end and beyond the window, and the slopes of ALiBi.
   */
  private Tensor promptMask(TensorScope into, int window) {
    int longest = promptKeys.get(0).extent(POSITIONS_OF_KEYS);
    int heads = decoder.spec().attention().keyValueHeads();
    float[] mask = new float[promptLengths.length * heads * longest];
    for (int p = 0; p < promptLengths.length; p++) {
      int place = promptLengths[p] + own;
      int firstSeen = window == 0 ? 0 : Math.max(0, place + 1 - window);
      for (int head = 0; head < heads; head++) {
        int row = (p * heads + head) * longest;
        for (int key = 0; key < longest; key++) {
          boolean seen = key >= firstSeen && key < promptLengths[p];
          mask[row + key] = seen ? slope(head) * (key - place) : Float.NEGATIVE_INFINITY;
        }
      }
    }
    Tensor fp32 = into.of(mask, (long) promptLengths.length * heads, 1, longest);
    return torch.ops().convert(into, fp32, type);
  }

  private float slope(int head) {
    return slopes.length == 0 ? 0 : (float) slopes[head];
  }

  /** What ALiBi adds to the scores of the own keys, {@code [1, heads, 1, own + 1]}; else empty. */
  private Tensor ownSlopes(TensorScope step) {
    if (slopes.length == 0) {
      return decoder.empty();
    }
    float[] added = new float[slopes.length * (own + 1)];
    for (int head = 0; head < slopes.length; head++) {
      for (int key = 0; key <= own; key++) {
        added[head * (own + 1) + key] = slope(head) * (key - own);
      }
    }
    return torch.ops().convert(step, step.of(added, 1, slopes.length, 1, own + 1), type);
  }

  /** Masks that change with every token: the windows move on, and so do the distances of ALiBi. */
  private boolean masksMove() {
    return slopes.length > 0 || decoder.spec().attention().reach().localLayers().contains(true);
  }

  private List<Tensor> empty(String function) {
    List<Tensor> caches = new ArrayList<>();
    for (int layer = 0; layer < decoder.spec().layers(); layer++) {
      caches.add(
          kernels.call(scope, type, function, (long) slots(), (long) capacity, promptKeys.get(0)));
    }
    return caches;
  }

  /** The number of slots: prompts times samples. */
  public int slots() {
    return promptLengths.length * samples;
  }

  /** The number of slots of each prompt. */
  public int samples() {
    return samples;
  }

  /**
   * Reads one more token of every slot.
   *
   * @param tokens int64 {@code [slots]}
   * @return the hidden states that predict the next token, {@code [slots, hidden]}
   */
  public Tensor step(TensorScope step, Tensor tokens) {
    if (own == capacity) {
      grow();
    }
    int[] places = new int[slots()];
    int lastPlace = decoder.spec().maxPositions() - 1;
    for (int slot = 0; slot < places.length; slot++) {
      // A finished slot may run on past the context until it is dropped; its result is not used.
      places[slot] = Math.min(lastPlace, promptLengths[slot / samples] + own);
    }
    Decoder.Angles angles = decoder.angles(Arrays.stream(places).max().orElseThrow() + 1);
    Tensor rows = step.of(decoder.tableRows(places), places.length);
    AttentionSpec.Reach reach = decoder.spec().attention().reach();
    List<Tensor> masks = promptMasks;
    if (masksMove()) {
      Tensor full = promptMask(step, 0);
      masks = List.of(full, reach.window() == 0 ? full : promptMask(step, reach.window()));
    }
    int[] local = new int[decoder.spec().layers()];
    Arrays.setAll(local, layer -> reach.isLocal(layer) ? 1 : 0);
    Tensor last =
        kernels.call(
            step,
            type,
            "decode",
            decoder.enter(step, tokens, rows),
            decoder.rows(step, angles.cosines(), rows),
            decoder.rows(step, angles.sines(), rows),
            promptKeys,
            promptValues,
            ownKeys,
            ownValues,
            (long) own,
            (long) samples,
            masks,
            ownSlopes(step),
            local,
            weights);
    own++;
    return decoder.finish(step, last);
  }

  private void grow() {
    int[] all = new int[slots()];
    for (int i = 0; i < all.length; i++) {
      all[i] = i;
    }
    capacity *= 2;
    ownKeys = regrouped(scope, ownKeys, all, POSITIONS_OF_KEYS, own);
    ownValues = regrouped(scope, ownValues, all, POSITIONS_OF_VALUES, own);
  }

  /**
   * Keeps some slots, in a new order.
   *
   * @param prompts which of the prompts stay
   * @param kept for each of them the same number of slots, {@code [prompts.length * samples]}
   */
  public void keep(int[] prompts, int[] kept) {
    TensorScope next = torch.scope();
    int longest = promptKeys.get(0).extent(POSITIONS_OF_KEYS);
    promptKeys = regrouped(next, promptKeys, prompts, POSITIONS_OF_KEYS, longest);
    promptValues = regrouped(next, promptValues, prompts, POSITIONS_OF_VALUES, longest);
    ownKeys = regrouped(next, ownKeys, kept, POSITIONS_OF_KEYS, own);
    ownValues = regrouped(next, ownValues, kept, POSITIONS_OF_VALUES, own);
    int[] lengths = new int[prompts.length];
    for (int p = 0; p < prompts.length; p++) {
      lengths[p] = promptLengths[prompts[p]];
    }
    promptLengths = lengths;
    samples = kept.length / prompts.length;
    scope.close();
    scope = next;
    promptMasks = promptMasks();
  }

  private List<Tensor> regrouped(
      TensorScope into, List<Tensor> caches, int[] groups, int positionAxis, int used) {
    boolean ofPrompts = caches == promptKeys || caches == promptValues;
    List<Tensor> result = new ArrayList<>();
    try (TensorScope step = torch.scope()) {
      Tensor picked = step.of(groups, groups.length);
      long room = ofPrompts ? used : capacity;
      for (Tensor cache : caches) {
        result.add(
            kernels.call(
                into, type, "regroup", cache, picked, (long) positionAxis, (long) used, room));
        cache.close();
      }
    }
    return result;
  }

  @Override
  public void close() {
    scope.close();
  }
}
