package org.rlhf4j.core.torch;

import ai.djl.Device;
import ai.djl.engine.Engine;
import ai.djl.pytorch.engine.PtNDManager;
import ai.djl.pytorch.jni.JniUtils;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.function.Supplier;
import org.rlhf4j.core.RlhfException;

/**
 * PyTorch on one device, as everything above this package sees it. Loading it reads the native
 * library once per process; closing it frees all tensors that were made through it.
 */
public final class Torch implements AutoCloseable {
  /** Fewer do not pay: matrix products pack the weights once for each piece. */
  private static final int ROWS_OF_A_PIECE = 8;

  private final Engine engine;
  private final Device device;
  private final Products products;
  private final TensorScope root;
  private final Ops ops;
  private final Workers workers = new Workers();

  private Torch(Engine engine, Device device, Products products) {
    this.engine = engine;
    this.device = device;
    this.products = products;
    this.root = new TensorScope((PtNDManager) engine.newBaseManager(device));
    this.ops = new Ops(this);
  }

  /** Chosen once, so that all runs of a process compute alike. */
  private static final class OfProcessor {
    private static final Products FASTEST = Products.chosen();
  }

  /**
   * Opens a device; on a processor products are computed in the way that was measured to be faster,
   * or that the system property {@code org.rlhf4j.products} names.
   *
   * @param name {@code auto} (the first GPU if there is one), {@code cpu}, {@code cuda} or {@code
   *     cuda:n}
   * @throws org.rlhf4j.core.RlhfException if the name is none of these, or the GPU is not there
   */
  public static Torch open(String name) {
    Engine engine = Engine.getEngine("PyTorch");
    Device device = device(engine, name);
    return new Torch(engine, device, device.isGpu() ? Products.PLAIN : OfProcessor.FASTEST);
  }

  /**
   * Opens a device.
   *
   * @param name as in {@link #open(String)}
   * @param products how they are computed
   * @throws org.rlhf4j.core.RlhfException as there, and if PyTorch cannot compute so
   */
  public static Torch open(String name, Products products) {
    products.requireThere();
    Engine engine = Engine.getEngine("PyTorch");
    return new Torch(engine, device(engine, name), products);
  }

  /**
   * Looks whether a device is there.
   *
   * @param name as in {@link #open(String)}
   * @throws org.rlhf4j.core.RlhfException as there
   */
  public static void requireThere(String name) {
    device(Engine.getEngine("PyTorch"), name);
  }

  private static Device device(Engine engine, String name) {
    if (name.equals("cpu")) {
      return Device.cpu();
    }
    if (name.equals("auto")) {
      return engine.getGpuCount() > 0 ? Device.gpu(0) : Device.cpu();
    }
    if (name.matches("cuda(:\\d+)?")) {
      int index = name.contains(":") ? Integer.parseInt(name.substring(5)) : 0;
      if (index >= engine.getGpuCount()) {
        throw RlhfException.config(
            "device: "
                + name
                + " was asked for, but PyTorch sees "
                + engine.getGpuCount()
                + " GPUs; allowed are auto, cpu and the GPUs that are there");
      }
      return Device.gpu(index);
    }
    throw RlhfException.config("device: " + name + " is none of auto, cpu, cuda, cuda:n");
  }

  /** A new scope; the caller closes it. */
  public TensorScope scope() {
    return root.child();
  }

  /** The operations on tensors of any type. */
  public Ops ops() {
    return ops;
  }

  TensorScope root() {
    return root;
  }

  Device device() {
    return device;
  }

  /** {@code cpu} or {@code cuda:n}. */
  public String deviceName() {
    return device.isGpu() ? "cuda:" + device.getDeviceId() : "cpu";
  }

  /** Whether kernels run on the processor, where other ways of computing are fastest. */
  public boolean isCpu() {
    return !device.isGpu();
  }

  /** PyTorch's version. */
  public String pytorchVersion() {
    return engine.getVersion();
  }

  /** How products with matrices of weights are computed. */
  public Products products() {
    return products;
  }

  /** The number of threads of one operation. */
  public int threads() {
    return JniUtils.getNumThreads();
  }

  /** Sets the number of threads of one operation, for the whole process. */
  public void setThreads(int threads) {
    JniUtils.setNumThreads(threads);
  }

  /**
   * Computes items that do not depend on each other. On a processor with several threads they are
   * dealt to as many pieces as have enough to do, which are computed side by side, each with its
   * share of the threads; a GPU has them all at once.
   *
   * @param items at least one; dealt in turns, so that pieces of items in order of their size are
   *     alike
   * @param rows of a matrix product on all items
   * @param work the result of some items. It runs in other threads: what it reads must not change
   *     meanwhile, and its scopes are its own. What it throws is thrown when nothing is running any
   *     more.
   * @return the results of the pieces
   */
  public <T, R> List<R> inPieces(List<T> items, long rows, Function<List<T>, R> work) {
    long most = isCpu() ? Math.min(threads(), rows / ROWS_OF_A_PIECE) : 1;
    int pieces = (int) Math.max(1, Math.min(items.size(), most));
    if (pieces == 1) {
      return List.of(work.apply(items));
    }
    List<Supplier<R>> parts = new ArrayList<>();
    for (int piece = 0; piece < pieces; piece++) {
      List<T> dealt = new ArrayList<>();
      for (int i = piece; i < items.size(); i += pieces) {
        dealt.add(items.get(i));
      }
      parts.add(() -> work.apply(dealt));
    }
    return workers.run(parts, Math.max(1, threads() / pieces));
  }

  /**
   * As {@link #inPieces}, for work with a result for each item.
   *
   * @return the results, in the order of the items
   */
  public <T, R> List<R> sideBySide(List<T> items, long rows, Function<List<T>, List<R>> work) {
    List<List<R>> pieces = inPieces(items, rows, work);
    List<R> results = new ArrayList<>();
    for (int i = 0; i < items.size(); i++) {
      results.add(pieces.get(i % pieces.size()).get(i / pieces.size()));
    }
    return results;
  }

  @Override
  public void close() {
    workers.close();
    ops.close();
    root.close();
  }
}
