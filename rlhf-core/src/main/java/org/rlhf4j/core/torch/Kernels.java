package org.rlhf4j.core.torch;

import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.engine.PtSymbolBlock;
import ai.djl.pytorch.jni.IValue;
import ai.djl.pytorch.jni.JniUtils;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/**
 * Functions of tensors written in TorchScript, loaded from a text resource and called from Java.
 *
 * <p>A call runs with or without recording a graph, whatever the calling thread did before: {@link
 * #call} never records, {@link #record} does. Neither enters PyTorch's inference mode, so results
 * of both may take part in a later graph.
 */
public final class Kernels implements AutoCloseable {
  /**
   * DJL's public entry for a method by name runs in inference mode, whose results can never enter a
   * graph, and its other entry matches every tensor's name against regular expressions. This is the
   * native call under both.
   */
  private static final MethodHandle RUN;

  private static final Object LIBRARY;
  private static final MethodHandle NEW_VALUE;

  static {
    try {
      Class<?> library = Class.forName("ai.djl.pytorch.jni.PyTorchLibrary");
      MethodHandles.Lookup lookup = MethodHandles.privateLookupIn(library, MethodHandles.lookup());
      RUN =
          lookup.findVirtual(
              library,
              "moduleRunMethod",
              MethodType.methodType(
                  long.class,
                  long.class,
                  String.class,
                  long[].class,
                  boolean.class,
                  boolean.class));
      LIBRARY = lookup.findStaticGetter(library, "LIB", library).invoke();
      NEW_VALUE =
          MethodHandles.privateLookupIn(IValue.class, MethodHandles.lookup())
              .findConstructor(IValue.class, MethodType.methodType(void.class, long.class));
    } catch (Throwable e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private final PtSymbolBlock module;
  private final String name;

  /** The graph executor's setting is per thread; see {@link #prepareThread}. */
  private final ThreadLocal<Boolean> prepared = ThreadLocal.withInitial(() -> false);

  private Kernels(PtSymbolBlock module, String name) {
    this.module = module;
    this.name = name;
  }

  /**
   * Loads the kernels of a resource. They may call the functions of {@link Products}.
   *
   * @param resource the path of a text resource that holds one TorchScript class
   * @param attributes values of the attributes that the class declares: Long, Double or Boolean
   */
  public static Kernels load(Torch torch, String resource, Map<String, Object> attributes) {
    String name = resource.substring(resource.lastIndexOf('/') + 1, resource.lastIndexOf('.'));
    try {
      String source = text(resource) + text(torch.products().resource());
      byte[] archive = TorchScriptArchive.write(source, attributes);
      PtSymbolBlock module =
          JniUtils.loadModule(
              torch.root().manager(), new ByteArrayInputStream(archive), false, false);
      return new Kernels(module, name);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String text(String resource) throws IOException {
    try (InputStream text = Kernels.class.getResourceAsStream(resource)) {
      if (text == null) {
        throw new IllegalStateException("no resource " + resource);
      }
      return new String(text.readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  /**
   * Calls a function without recording a graph.
   *
   * @param arguments Tensor, Tensor[], List of Tensor, Integer, Long, Double, Boolean, int[],
   *     long[], double[]
   * @return the function's result, in {@code scope}; its element type is {@code type}
   */
  public Tensor call(TensorScope scope, ElementType type, String function, Object... arguments) {
    try (IValue result = run(function, false, arguments)) {
      return new Tensor(result.toTensor(scope.manager()), type);
    }
  }

  /** As {@link #call}, for a function that returns a list of tensors of the given types. */
  public Tensor[] callList(
      TensorScope scope, ElementType[] types, String function, Object... arguments) {
    try (IValue result = run(function, false, arguments)) {
      return wrap(result.toTensorArray(scope.manager()), types);
    }
  }

  /** As {@link #call}, for a function that changes its arguments and returns nothing. */
  public void callInPlace(String function, Object... arguments) {
    run(function, false, arguments).close();
  }

  /** As {@link #callList}, recording a graph from every argument that requires a gradient. */
  public Tensor[] record(
      TensorScope scope, ElementType[] types, String function, Object... arguments) {
    try (IValue result = run(function, true, arguments)) {
      return wrap(result.toTensorArray(scope.manager()), types);
    }
  }

  private Tensor[] wrap(PtNDArray[] arrays, ElementType[] types) {
    Tensor[] tensors = new Tensor[arrays.length];
    for (int i = 0; i < arrays.length; i++) {
      tensors[i] = new Tensor(arrays[i], types[Math.min(i, types.length - 1)]);
    }
    return tensors;
  }

  private IValue run(String function, boolean recording, Object... arguments) {
    IValue[] values = new IValue[arguments.length];
    long[] handles = new long[arguments.length];
    try {
      for (int i = 0; i < arguments.length; i++) {
        values[i] = value(arguments[i]);
        handles[i] = values[i].getHandle();
      }
      prepareThread();
      JniUtils.setGradMode(recording);
      long result =
          (long) RUN.invoke(LIBRARY, (long) module.getHandle(), function, handles, true, false);
      return (IValue) NEW_VALUE.invoke(result);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException("calling " + name + "." + function, e);
    } finally {
      for (IValue value : values) {
        if (value != null) {
          value.close();
        }
      }
    }
  }

  /**
   * Lengths change at every call; letting the graph executor specialise on them again and again
   * costs seconds.
   */
  private void prepareThread() {
    if (!prepared.get()) {
      JniUtils.setGraphExecutorOptimize(false);
      prepared.set(true);
    }
  }

  private static IValue value(Object argument) {
    if (argument instanceof Tensor tensor) {
      return IValue.from(tensor.array());
    }
    if (argument instanceof Tensor[] tensors) {
      return IValue.listFrom(arrays(List.of(tensors)));
    }
    if (argument instanceof List<?> tensors) {
      return IValue.listFrom(arrays(tensors));
    }
    if (argument instanceof Integer number) {
      return IValue.from(number.longValue());
    }
    if (argument instanceof Long number) {
      return IValue.from(number.longValue());
    }
    if (argument instanceof Double number) {
      return IValue.from(number.doubleValue());
    }
    if (argument instanceof Boolean truth) {
      return IValue.from(truth.booleanValue());
    }
    if (argument instanceof long[] numbers) {
      return IValue.listFrom(numbers);
    }
    if (argument instanceof double[] numbers) {
      return IValue.listFrom(numbers);
    }
    if (argument instanceof int[] numbers) {
      long[] wide = new long[numbers.length];
      for (int i = 0; i < wide.length; i++) {
        wide[i] = numbers[i];
      }
      return IValue.listFrom(wide);
    }
    throw new IllegalArgumentException("no kernel takes " + argument);
  }

  private static PtNDArray[] arrays(List<?> tensors) {
    PtNDArray[] arrays = new PtNDArray[tensors.size()];
    for (int i = 0; i < arrays.length; i++) {
      arrays[i] = ((Tensor) tensors.get(i)).array();
    }
    return arrays;
  }

  @Override
  public void close() {
    module.close();
  }
}
