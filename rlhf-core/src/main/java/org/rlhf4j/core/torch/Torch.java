package org.rlhf4j.core.torch;

import ai.djl.Device;
import ai.djl.engine.Engine;
import ai.djl.pytorch.engine.PtNDManager;
import ai.djl.pytorch.jni.JniUtils;
import org.rlhf4j.core.RlhfException;

/**
 * PyTorch on one device, as everything above this package sees it. Loading it reads the native
 * library once per process; closing it frees all tensors that were made through it.
 */
public final class Torch implements AutoCloseable {
  private final Engine engine;
  private final Device device;
  private final TensorScope root;
  private final Ops ops;

  private Torch(Engine engine, Device device) {
    this.engine = engine;
    this.device = device;
    this.root = new TensorScope((PtNDManager) engine.newBaseManager(device));
    this.ops = new Ops(this);
  }

  /**
   * Opens a device.
   *
   * @param name {@code auto} (the first GPU if there is one), {@code cpu}, {@code cuda} or {@code
   *     cuda:n}
   * @throws org.rlhf4j.core.RlhfException if the name is none of these, or the GPU is not there
   */
  public static Torch open(String name) {
    Engine engine = Engine.getEngine("PyTorch");
    return new Torch(engine, device(engine, name));
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

  /** The number of threads of one operation. */
  public int threads() {
    return JniUtils.getNumThreads();
  }

  /** Sets the number of threads of one operation, for the whole process. */
  public void setThreads(int threads) {
    JniUtils.setNumThreads(threads);
  }

  @Override
  public void close() {
    ops.close();
    root.close();
  }
}
