package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.List;
import java.util.function.LongFunction;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.Torch;

/**
 * What LoRA adds to a model: low-rank adapters beside its linear modules, and copies of whole
 * modules that take the places of the model's own. The model's weights stay as they are.
 */
public final class Adapter implements AutoCloseable {
  /** Linear modules of a block at the most. */
  private static final int MODULES = 8;

  private static final long[] NO_DROPOUT = {};

  private final AdapterLayout layout;
  private final Weights weights;
  private final long seed;
  private long step;
  private long passes;

  /**
   * An adapter on a device.
   *
   * @param source of the values of its parameters
   * @param options whether it is trained, and the seed of its dropout
   */
  Adapter(Torch torch, AdapterLayout layout, Weights.Source source, ModelLoader.Options options) {
    this.layout = layout;
    this.seed = options.seed();
    ElementType type = options.type();
    this.weights = new Weights(torch, layout.parameters(), source, type, options.trainable());
  }

  /**
   * Values to start training from, as PEFT draws them: A uniform within {@code 1 / sqrt(in)}, B
   * zero, and copies as the model has them.
   *
   * @param base of the model's values
   */
  static Weights.Source fresh(AdapterLayout layout, Weights.Source base, long seed) {
    return (parameter, from, target) -> {
      if (AdapterLayout.isA(parameter)) {
        int module = layout.parameters().indexOf(parameter);
        double bound = 1 / Math.sqrt(parameter.shape()[1]);
        for (long i = from; target.hasRemaining(); i++) {
          double uniform =
              CounterRandom.uniform(seed, RandomStream.ADAPTER_INIT, 0, module, i) * 2 - 1;
          target.put((float) (bound * uniform));
        }
      } else if (AdapterLayout.isB(parameter)) {
        while (target.hasRemaining()) {
          target.put(0);
        }
      } else {
        base.fill(original(layout, parameter), from, target);
      }
    };
  }

  private static ParameterSpec original(AdapterLayout layout, ParameterSpec whole) {
    String name = AdapterLayout.original(whole);
    return layout.base().stream()
        .filter(parameter -> parameter.name().equals(name))
        .findFirst()
        .orElseThrow();
  }

  /** What it is made of, its module names as a file gives them. */
  public LoraSpec spec() {
    return layout.lora().withModules(layout.writtenTargets(), layout.lora().modulesToSave());
  }

  /** Its parameters under PEFT's names. */
  public Weights weights() {
    return weights;
  }

  /** The number of modules with adapters. */
  public int modules() {
    return layout.modules();
  }

  AdapterLayout layout() {
    return layout;
  }

  /** Names the step that follows: what is dropped out is a function of it, not of a state. */
  void startStep(long next) {
    step = next;
    passes = 0;
  }

  /**
   * A pass of training.
   *
   * @param step that it belongs to
   * @param number among the passes of the step
   */
  record Draw(long step, long number) {}

  Draw nextDraw() {
    return new Draw(step, passes++);
  }

  /**
   * The seeds of what is dropped out in a block.
   *
   * @param draw null outside of training
   * @return for each of its linear modules; empty without dropout
   */
  long[] dropoutSeeds(Draw draw, int block) {
    if (draw == null || layout.lora().dropout() == 0) {
      return NO_DROPOUT;
    }
    long[] seeds = new long[MODULES];
    for (int module = 0; module < seeds.length; module++) {
      long place = (long) block * MODULES + module;
      // 32 bits are what PyTorch's generator takes.
      seeds[module] =
          CounterRandom.bits(seed, RandomStream.DROPOUT, draw.step(), draw.number(), place) >>> 32;
    }
    return seeds;
  }

  /**
   * Its weights beside a projection as the kernels take them: A of all parts as one, then B of each
   * part.
   *
   * @param empty a tensor without elements, for a projection without adapters
   * @param noOutput for a part without adapter, {@code [out, 0]}, from its number of outputs
   */
  List<WeightPlaces.Place> of(
      TrunkLayout.Projection projection, Tensor empty, LongFunction<Tensor> noOutput) {
    List<WeightPlaces.Place> places = new ArrayList<>();
    List<WeightPlaces.Place> outputs = new ArrayList<>();
    int firstA = -1;
    int adapters = 0;
    for (int i = 0; i < projection.parts(); i++) {
      AdapterLayout.Target target = layout.target(projection.first() + i);
      if (target == null) {
        long out = layout.extents(projection.first() + i)[0];
        outputs.add(WeightPlaces.frozen(noOutput.apply(out)));
      } else {
        firstA = adapters++ == 0 ? target.a() : firstA;
        outputs.add(WeightPlaces.of(weights, target.b(), 1));
      }
    }
    places.add(
        adapters == 0 ? WeightPlaces.frozen(empty) : WeightPlaces.of(weights, firstA, adapters));
    places.addAll(projection.parts() == 0 ? List.of(WeightPlaces.frozen(empty)) : outputs);
    return places;
  }

  @Override
  public void close() {
    weights.close();
  }
}
