package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.rlhf4j.core.RlhfException;

/**
 * Which modules of a model an adapter changes, and where its parameters stand among each other:
 * projection by projection the {@code A} of its parts, then their {@code B}, so that those which
 * are computed together lie together; at the end the copies of whole modules.
 */
final class AdapterLayout {
  /** What PEFT puts before the names of the model. */
  static final String PREFIX = "base_model.model.";

  private final ModelFamilies.Model model;
  private final List<ParameterSpec> base;
  private final LoraSpec lora;
  private final List<ParameterSpec> parameters = new ArrayList<>();
  private final Map<Integer, Target> targets = new HashMap<>();
  private final Map<Integer, Integer> wholes = new HashMap<>();

  /**
   * The adapter of a module.
   *
   * @param weight the place of the module's weight among the model's parameters
   * @param a the place of A among the adapter's parameters
   * @param b the place of B
   */
  record Target(int weight, int a, int b) {}

  /**
   * Finds the modules.
   *
   * @param base the model's parameters, trunk and head
   * @param lora which modules; names that match nothing have no effect
   */
  AdapterLayout(ModelFamilies.Model model, List<ParameterSpec> base, LoraSpec lora) {
    this.model = model;
    this.base = base;
    this.lora = lora;
    for (TrunkLayout.Projection projection : projections()) {
      add(projection);
    }
    for (int i = 0; i < base.size(); i++) {
      if (matches(module(i), lora.modulesToSave())) {
        wholes.put(i, parameters.size());
        ParameterSpec whole = base.get(i);
        parameters.add(
            new ParameterSpec(PREFIX + whole.name(), whole.dimensions(), whole.weightDecay()));
      }
    }
    requireWholeProjections();
  }

  private void add(TrunkLayout.Projection projection) {
    List<Integer> weights = new ArrayList<>();
    for (int i = projection.first(); i < projection.first() + projection.parts(); i++) {
      boolean all = lora.targetModules().contains(LoraSpec.ALL_LINEAR);
      if (all || matches(module(i), lora.targetModules())) {
        weights.add(i);
      }
    }
    int first = parameters.size();
    for (int weight : weights) {
      String name = PREFIX + module(weight) + ".lora_A.weight";
      parameters.add(ParameterSpec.weight(name, lora.rank(), extents(weight)[1]));
    }
    for (int i = 0; i < weights.size(); i++) {
      int weight = weights.get(i);
      String name = PREFIX + module(weight) + ".lora_B.weight";
      parameters.add(ParameterSpec.weight(name, extents(weight)[0], lora.rank()));
      targets.put(weight, new Target(weight, first + i, first + weights.size() + i));
    }
  }

  private List<TrunkLayout.Projection> projections() {
    TrunkLayout trunk = TrunkLayout.of(model.spec());
    List<TrunkLayout.Projection> all = new ArrayList<>(trunk.enterProjections());
    for (int layer = 0; layer < trunk.layers(); layer++) {
      all.addAll(trunk.blockProjections(layer));
    }
    all.addAll(trunk.finishProjections());
    all.removeIf(projection -> projection.parts() == 0);
    return all;
  }

  /** The outputs and inputs of a module with a weight. */
  long[] extents(int weight) {
    long[] shape = base.get(weight).shape();
    return model.spec().transposed() ? new long[] {shape[1], shape[0]} : shape;
  }

  private String module(int parameter) {
    String name = base.get(parameter).name();
    return name.substring(0, name.lastIndexOf('.'));
  }

  /** PEFT's rule: the whole name of a module, or its last parts. */
  private static boolean matches(String module, List<String> names) {
    return names.stream().anyMatch(name -> module.equals(name) || module.endsWith("." + name));
  }

  /** The kernels take weights of one projection as one tensor, which is either frozen or not. */
  private void requireWholeProjections() {
    for (TrunkLayout.Projection projection : projections()) {
      List<String> names = new ArrayList<>();
      int saved = 0;
      for (int i = projection.first(); i < projection.first() + projection.parts(); i++) {
        names.add(lastPart(module(i)));
        saved += wholes.containsKey(i) ? 1 : 0;
        if (wholes.containsKey(i) && targets.containsKey(i)) {
          throw RlhfException.config(
              "modules_to_save: %s has an adapter already; a module is trained by one or the other"
                  .formatted(module(i)));
        }
      }
      if (saved != 0 && saved != projection.parts()) {
        throw RlhfException.config(
            "modules_to_save: %s are computed as one; name all of them or none"
                .formatted(String.join(", ", names)));
      }
    }
    boolean tied = model.head() == ModelHead.CAUSAL_LM && model.spec().head().tied();
    if (tied && wholes.containsKey(0)) {
      throw RlhfException.config(
          "modules_to_save: %s is tied to the head (tie_word_embeddings), a copy of it alone would"
                  .formatted(module(0))
              + " part them");
    }
  }

  /**
   * Refuses names that match nothing, which in a file have no effect and from a user are errors.
   */
  void requireAllKnown() {
    Set<String> linear = new TreeSet<>();
    for (TrunkLayout.Projection projection : projections()) {
      for (int i = projection.first(); i < projection.first() + projection.parts(); i++) {
        linear.add(module(i));
      }
    }
    for (String name : lora.targetModules()) {
      if (!name.equals(LoraSpec.ALL_LINEAR)
          && linear.stream().noneMatch(module -> matches(module, List.of(name)))) {
        throw RlhfException.config(
            "lora_target_modules: %s is no linear module inside the model; allowed: %s, or some of %s"
                .formatted(name, LoraSpec.ALL_LINEAR, String.join(", ", lastParts(linear))));
      }
    }
    if (targets.isEmpty()) {
      throw RlhfException.config("lora_target_modules: names no module");
    }
    Set<String> all = new LinkedHashSet<>();
    for (int i = 0; i < base.size(); i++) {
      all.add(module(i));
    }
    for (String name : lora.modulesToSave()) {
      if (all.stream().noneMatch(module -> matches(module, List.of(name)))) {
        throw RlhfException.config(
            "modules_to_save: the model has no module %s; allowed: some of %s"
                .formatted(name, String.join(", ", lastParts(all))));
      }
    }
  }

  private static Set<String> lastParts(Set<String> modules) {
    Set<String> parts = new TreeSet<>();
    modules.forEach(module -> parts.add(lastPart(module)));
    return parts;
  }

  private static String lastPart(String module) {
    return module.substring(module.lastIndexOf('.') + 1);
  }

  /** The names that a file gives for the modules with adapters: never {@code all-linear}. */
  List<String> writtenTargets() {
    if (!lora.targetModules().contains(LoraSpec.ALL_LINEAR)) {
      return lora.targetModules();
    }
    Set<String> names = new TreeSet<>();
    targets.keySet().forEach(weight -> names.add(lastPart(module(weight))));
    return List.copyOf(names);
  }

  /** The adapter's parameters under PEFT's names. */
  List<ParameterSpec> parameters() {
    return parameters;
  }

  /** The model's parameters. */
  List<ParameterSpec> base() {
    return base;
  }

  /** What it was made for. */
  LoraSpec lora() {
    return lora;
  }

  /** The model that it is for. */
  ModelFamilies.Model model() {
    return model;
  }

  /** The adapter of a module by the place of its weight; null where it has none. */
  Target target(int weight) {
    return targets.get(weight);
  }

  /** The place of the copy of a parameter, -1 where there is none. */
  int whole(int parameter) {
    return wholes.getOrDefault(parameter, -1);
  }

  /** Whether a parameter is an A. */
  static boolean isA(ParameterSpec parameter) {
    return parameter.name().endsWith(".lora_A.weight");
  }

  /** Whether a parameter is a B. */
  static boolean isB(ParameterSpec parameter) {
    return parameter.name().endsWith(".lora_B.weight");
  }

  /** The name of the model's parameter that a copy is of. */
  static String original(ParameterSpec whole) {
    return whole.name().substring(PREFIX.length());
  }

  /** The number of modules with adapters. */
  int modules() {
    return targets.size();
  }

  /** All names, for messages. */
  Stream<String> names() {
    return parameters.stream().map(ParameterSpec::name);
  }
}
