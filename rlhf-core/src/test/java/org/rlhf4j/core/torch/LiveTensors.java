package org.rlhf4j.core.torch;

/** Counts what is not freed yet. */
public final class LiveTensors {
  private LiveTensors() {}

  /** Tensors of a device, in scopes that are still open. */
  public static int count(Torch torch) {
    return torch.root().manager().getManagedArrays().size();
  }
}
