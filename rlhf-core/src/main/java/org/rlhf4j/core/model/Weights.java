package org.rlhf4j.core.model;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Ops;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * The parameters of a model in the order of its family: the weights that are computed with, and for
 * bf16 in training an fp32 master of each, since a learning rate of 5e-6 would not move a bf16
 * weight.
 */
public final class Weights implements AutoCloseable {
  /** Numbers that cross between JVM and device at once. */
  private static final int CHUNK = 1 << 20;

  /** Where initial values come from. */
  @FunctionalInterface
  public interface Source {
    /**
     * Puts the values of a parameter, from element {@code from} of its flat form, into the whole
     * remaining part of target, which need not have an array.
     */
    void fill(ParameterSpec parameter, long from, FloatBuffer target);
  }

  private final Ops ops;
  private final TensorScope scope;
  private final List<ParameterSpec> parameters;
  private final ElementType type;
  private final boolean trainable;

  /** The tensors that hold the weights, by the place of their first. */
  private final TreeMap<Integer, Tensor> blocks = new TreeMap<>();

  private final List<Tensor> compute = new ArrayList<>();
  private final List<Tensor> masters = new ArrayList<>();

  /**
   * Reads all parameters.
   *
   * @param type what is computed with: fp32 or bf16
   * @param trainable whether graphs start from the weights and masters are kept
   */
  public Weights(
      Torch torch,
      List<ParameterSpec> parameters,
      Source source,
      ElementType type,
      boolean trainable) {
    this.ops = torch.ops();
    this.scope = torch.scope();
    this.parameters = List.copyOf(parameters);
    this.type = type;
    this.trainable = trainable;
    long largest = parameters.stream().mapToLong(ParameterSpec::elements).max().orElse(0);
    // One buffer for all: garbage of the size of the model would stay resident until collected.
    ByteBuffer chunk =
        ByteBuffer.allocateDirect((int) Math.min(CHUNK, largest) * Float.BYTES)
            .order(ByteOrder.nativeOrder());
    for (int from = 0; from < parameters.size(); ) {
      int to = endOfBlock(from);
      addBlock(source, from, to, chunk);
      from = to;
    }
  }

  /** Where the parameters end that can lie in one tensor: below each other, with equal rows. */
  private int endOfBlock(int from) {
    int to = from + 1;
    while (to < parameters.size() && Arrays.equals(row(from), row(to))) {
      to++;
    }
    return to;
  }

  private long[] row(int index) {
    long[] shape = parameters.get(index).shape();
    return Arrays.copyOfRange(shape, 1, shape.length);
  }

  private long[] rowsOf(int from, int to) {
    return parameters.subList(from, to).stream().mapToLong(p -> p.shape()[0]).toArray();
  }

  private void addBlock(Source source, int from, int to, ByteBuffer chunk) {
    long[] rows = rowsOf(from, to);
    long[] shape = parameters.get(from).shape().clone();
    shape[0] = Arrays.stream(rows).sum();
    // Without masters the numbers go right into the type that is computed with.
    Tensor filled = ops.unset(scope, trainable ? ElementType.FP32 : type, shape);
    Tensor[] parts = ops.splitRows(scope, filled, rows);
    for (int i = from; i < to; i++) {
      ParameterSpec parameter = parameters.get(i);
      for (long start = 0; start < parameter.elements(); start += CHUNK) {
        int count = (int) Math.min(CHUNK, parameter.elements() - start);
        chunk.clear().limit(count * Float.BYTES);
        source.fill(parameter, start, chunk.asFloatBuffer());
        ops.fill(scope, parts[i - from], start, chunk);
      }
    }
    Tensor used = filled.type() == type ? filled : ops.convert(scope, filled, type);
    blocks.put(from, used);
    if (trainable) {
      for (Tensor part : ops.splitRows(scope, used, rows)) {
        compute.add(ops.leaf(scope, part));
      }
      masters.addAll(List.of(parts));
    } else {
      compute.addAll(List.of(parts));
    }
  }

  /** Names and shapes. */
  public List<ParameterSpec> parameters() {
    return parameters;
  }

  /** The type that is computed with. */
  public ElementType type() {
    return type;
  }

  /**
   * Neighbouring weights as one tensor, one below the other, in the same memory.
   *
   * @param from the first of them; its neighbours have rows of the same shape
   * @param to the place behind the last of them
   * @return this object's; a leaf of its own in training
   */
  Tensor joined(int from, int to) {
    int first = blocks.floorKey(from);
    int end = endOfBlock(first);
    if (to > end) {
      throw new IllegalArgumentException(
          parameters.get(to - 1).name() + " cannot be joined to " + parameters.get(from).name());
    }
    long[] rows = {
      Arrays.stream(rowsOf(first, from)).sum(),
      Arrays.stream(rowsOf(from, to)).sum(),
      Arrays.stream(rowsOf(to, end)).sum()
    };
    Tensor joined = ops.splitRows(scope, blocks.get(first), rows)[1];
    return trainable ? ops.leaf(scope, joined) : joined;
  }

  /** Whether graphs start from the weights and masters are kept. */
  public boolean isTrainable() {
    return trainable;
  }

  /** All weights that are computed with. */
  public List<Tensor> all() {
    return compute;
  }

  /** The weight at a place of {@link #parameters()}. */
  public Tensor get(int index) {
    return compute.get(index);
  }

  /** The fp32 weights that an optimizer changes; for fp32 models the same memory. */
  public List<Tensor> masters() {
    if (masters.isEmpty()) {
      throw new IllegalStateException("these weights were not loaded for training");
    }
    return masters;
  }

  /** For each parameter, whether weight decay applies. */
  public boolean[] decayed() {
    boolean[] decayed = new boolean[parameters.size()];
    for (int i = 0; i < decayed.length; i++) {
      decayed[i] = parameters.get(i).weightDecay();
    }
    return decayed;
  }

  /** Takes over what an optimizer did to the masters. */
  public void followMasters() {
    if (type != ElementType.FP32) {
      ops.copyEach(compute, masters);
    }
  }

  /** The parameters as a checkpoint stores them, read from the masters where there are any. */
  public List<TensorSource> sources(StoredType stored) {
    List<TensorSource> sources = new ArrayList<>();
    for (int i = 0; i < parameters.size(); i++) {
      sources.add(source(i, stored));
    }
    return sources;
  }

  /** One of {@link #sources(StoredType)}. */
  TensorSource source(int index, StoredType stored) {
    Tensor tensor = masters.isEmpty() ? compute.get(index) : masters.get(index);
    return source(ops, scope, parameters.get(index).name(), stored, tensor);
  }

  /** One tensor as a checkpoint stores it. */
  public static TensorSource source(
      Ops ops, TensorScope scope, String name, StoredType stored, Tensor tensor) {
    return TensorSource.floats(
        name,
        stored,
        tensor.shape(),
        (from, target) -> {
          while (target.hasRemaining()) {
            int count = Math.min(CHUNK, target.remaining());
            target.put(ops.part(scope, tensor, from, count));
            from += count;
          }
        });
  }

  /** Overwrites a tensor with stored values. */
  public static void fill(Ops ops, TensorScope scope, Tensor tensor, Stored stored) {
    long size = tensor.size();
    for (long from = 0; from < size; from += CHUNK) {
      float[] part = new float[(int) Math.min(CHUNK, size - from)];
      stored.fill(from, FloatBuffer.wrap(part));
      ops.fill(scope, tensor, from, part);
    }
  }

  /** Values of one stored tensor. */
  @FunctionalInterface
  public interface Stored {
    /** Puts values from element {@code from} of the flat form into target. */
    void fill(long from, FloatBuffer target);
  }

  @Override
  public void close() {
    scope.close();
  }
}
