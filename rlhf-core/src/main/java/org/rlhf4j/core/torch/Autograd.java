package org.rlhf4j.core.torch;

import ai.djl.Device;
import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import java.util.Arrays;
import java.util.function.UnaryOperator;

/** Derivatives of functions that are written with DJL's operators. */
public final class Autograd {
  private Autograd() {}

  /**
   * A function's value with its derivative.
   *
   * @param derivative d value / d input, {@code [inputs]}
   */
  public record Differentiated(double value, float[] derivative) {}

  /**
   * Computes a function in main memory and goes back through its graph.
   *
   * <p>This is not DJL's gradient collector: that one is a single one for the whole process, and
   * looks through all arrays for gradients, among them those of types DJL does not know.
   *
   * @param input fp32, {@code [inputs]}
   * @param function from the input to one element that depends on it; its arrays die with the call
   * @throws IllegalArgumentException if the function's result has not one element
   * @throws ai.djl.engine.EngineException if the result does not depend on the input
   */
  public static Differentiated differentiate(float[] input, UnaryOperator<NDArray> function) {
    try (NDManager manager = Engine.getEngine("PyTorch").newBaseManager(Device.cpu())) {
      NDArray leaf = manager.create(input);
      leaf.setRequiresGradient(true);
      NDArray value = recorded(function, leaf);
      if (value.size() != 1) {
        throw new IllegalArgumentException(
            "a loss is one element, found shape " + Arrays.toString(value.getShape().getShape()));
      }
      JniUtils.backward((PtNDArray) value, (PtNDArray) value.onesLike(), false, false);
      return new Differentiated(value.toFloatArray()[0], leaf.getGradient().toFloatArray());
    }
  }

  private static NDArray recorded(UnaryOperator<NDArray> function, NDArray input) {
    boolean before = JniUtils.isGradMode();
    JniUtils.setGradMode(true);
    try {
      return function.apply(input).toType(DataType.FLOAT32, false);
    } finally {
      JniUtils.setGradMode(before);
    }
  }
}
