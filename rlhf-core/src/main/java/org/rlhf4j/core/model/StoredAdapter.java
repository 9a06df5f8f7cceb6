package org.rlhf4j.core.model;

import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AdapterFolder;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.TensorInfo;
import org.rlhf4j.core.checkpoint.WeightFile;

/** The adapter of a folder: its values, and the model's values with it merged into them. */
final class StoredAdapter {
  private final AdapterFolder files;
  private final AdapterLayout layout;
  private final Map<String, Integer> places = new HashMap<>();

  private String factorsOf = "";
  private Factors factors;

  /**
   * Holds an adapter's tensors against its configuration and the model.
   *
   * @param model with the adapter's head
   * @throws RlhfException naming the key or tensor, what was found and what is expected
   */
  StoredAdapter(AdapterFolder files, ModelFamilies.Model model) {
    this.files = files;
    LoraSpec lora = AdapterConfig.read(files, model.spec());
    this.layout = new AdapterLayout(model, model.parameters(), lora);
    for (int i = 0; i < layout.base().size(); i++) {
      places.put(layout.base().get(i).name(), i);
    }
    requireTensors();
  }

  private void requireTensors() {
    WeightFile tensors = files.tensors();
    Set<String> unexpected = new TreeSet<>();
    tensors.tensors().forEach(tensor -> unexpected.add(tensor.name()));
    for (ParameterSpec parameter : layout.parameters()) {
      if (!unexpected.remove(parameter.name())) {
        throw RlhfException.input(tensors.path() + ": tensor " + parameter.name() + " is missing");
      }
      TensorInfo info = tensors.info(parameter.name());
      if (!info.dimensions().equals(parameter.dimensions()) || !info.type().isFloat()) {
        throw RlhfException.input(
            "%s: tensor %s is %s %s, expected %s of F32, F16 or BF16 by %s"
                .formatted(
                    tensors.path(),
                    parameter.name(),
                    info.type(),
                    info.dimensions(),
                    parameter.dimensions(),
                    files.configFile()));
      }
    }
    if (!unexpected.isEmpty()) {
      throw RlhfException.input(
          "%s: tensor %s is not part of this adapter%s"
              .formatted(
                  tensors.path(),
                  unexpected.iterator().next(),
                  unexpected.size() == 1 ? "" : ", and " + (unexpected.size() - 1) + " more"));
    }
    ModelFamilies.Model model = layout.model();
    String head = model.family().headName(model.head());
    boolean needsHead = model.head() == ModelHead.SEQUENCE_CLASSIFICATION;
    if (needsHead && layout.whole(places.get(head)) < 0 && !hasScore()) {
      throw RlhfException.input(
          "%s: a reward model without %s%s, so its scores would be random; modules_to_save lacks it"
              .formatted(tensors.path(), AdapterLayout.PREFIX, head));
    }
  }

  /** Whether the model itself has a score head. */
  private boolean hasScore() {
    return ModelFolder.open(files.base())
        .contains(layout.model().family().headName(ModelHead.SEQUENCE_CLASSIFICATION));
  }

  AdapterLayout layout() {
    return layout;
  }

  /** Puts the adapter's own values. */
  void fill(ParameterSpec parameter, long from, FloatBuffer target) {
    int begin = target.position();
    files.tensors().readFloats(parameter.name(), from, target);
    for (int i = begin; i < target.position(); i++) {
      requireFinite(parameter, from + i - begin, target.get(i));
    }
  }

  private void requireFinite(ParameterSpec parameter, long element, float value) {
    if (!Float.isFinite(value)) {
      throw RlhfException.input(
          "%s: tensor %s holds %s at element %d, expected finite numbers"
              .formatted(files.tensors().path(), parameter.name(), value, element));
    }
  }

  private float[] values(ParameterSpec parameter) {
    float[] values = new float[(int) parameter.elements()];
    fill(parameter, 0, FloatBuffer.wrap(values));
    return values;
  }

  /** Whether it has a parameter. */
  boolean contains(ParameterSpec parameter) {
    return files.tensors().contains(parameter.name());
  }

  /**
   * Refuses to go on with an adapter in another shape than it has.
   *
   * @param wanted the shape that the configuration asks for; it may have copies of more modules
   */
  void requireFits(AdapterLayout wanted) {
    List<String> differences = new ArrayList<>();
    LoraSpec mine = layout.lora();
    LoraSpec other = wanted.lora();
    differ(differences, "lora_r", mine.rank(), other.rank());
    differ(differences, "lora_alpha", mine.alpha(), other.alpha());
    differ(differences, "use_rslora", mine.rankStabilized(), other.rankStabilized());
    Set<String> names = new TreeSet<>(wanted.names().toList());
    if (differences.isEmpty() && !names.containsAll(layout.names().toList())) {
      differ(
          differences,
          "lora_target_modules, modules_to_save",
          layout.writtenTargets() + ", " + mine.modulesToSave(),
          wanted.writtenTargets() + ", " + other.modulesToSave());
    }
    long adapters = layout.names().filter(StoredAdapter::isAdapter).count();
    if (differences.isEmpty()
        && names.stream().filter(StoredAdapter::isAdapter).count() > adapters) {
      differ(differences, "lora_target_modules", layout.writtenTargets(), wanted.writtenTargets());
    }
    if (!differences.isEmpty()) {
      throw RlhfException.config(
          String.join("\n", differences)
              + "\nan adapter is trained on in the shape that it has; to begin a new one, merge it"
              + " first (merge-lora)");
    }
  }

  private static boolean isAdapter(String name) {
    return name.contains(".lora_");
  }

  private void differ(List<String> differences, String key, Object stored, Object asked) {
    if (!stored.equals(asked)) {
      differences.add(
          "%s: found %s, but the adapter in %s has %s"
              .formatted(key, asked, files.configFile().getParent(), stored));
    }
  }

  /**
   * The model's values with the adapter merged into them: {@code W + scale B A}, in fp32.
   *
   * @param base the model's values
   */
  Weights.Source merged(Weights.Source base) {
    return (parameter, from, target) -> {
      int place = places.getOrDefault(parameter.name(), -1);
      int whole = place < 0 ? -1 : layout.whole(place);
      AdapterLayout.Target adapter = place < 0 ? null : layout.target(place);
      if (whole >= 0) {
        fill(layout.parameters().get(whole), from, target);
      } else if (adapter == null) {
        base.fill(parameter, from, target);
      } else {
        FloatBuffer values = target.slice();
        base.fill(parameter, from, target);
        factors(parameter, adapter).addTo(values, from);
      }
    };
  }

  /** A parameter is filled in many pieces, one after the other. */
  private Factors factors(ParameterSpec parameter, AdapterLayout.Target target) {
    if (!factorsOf.equals(parameter.name())) {
      ParameterSpec a = layout.parameters().get(target.a());
      ParameterSpec b = layout.parameters().get(target.b());
      float[] ofA = values(a);
      float[] ofB = values(b);
      int rank = (int) a.shape()[0];
      // W is [out, in] and gets B A; where it lies [in, out], the transposes change places.
      boolean transposed = layout.model().spec().transposed();
      float[] left = transposed ? transposed(ofA, rank) : ofB;
      float[] right = transposed ? transposed(ofB, ofB.length / rank) : ofA;
      factors = new Factors(left, right, rank, layout.lora().scale());
      factorsOf = parameter.name();
    }
    return factors;
  }

  private static float[] transposed(float[] matrix, int rows) {
    int columns = matrix.length / rows;
    float[] turned = new float[matrix.length];
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        turned[column * rows + row] = matrix[row * columns + column];
      }
    }
    return turned;
  }

  /**
   * A product of two thin matrices.
   *
   * @param left {@code [rows, rank]}
   * @param right {@code [rank, columns]}
   */
  private record Factors(float[] left, float[] right, int rank, double scale) {

    /** Adds {@code scale left right} to values from element {@code from} of the flat form. */
    void addTo(FloatBuffer values, long from) {
      int columns = columns();
      float[] row = new float[columns];
      int done = 0;
      while (done < values.limit()) {
        int rowIndex = (int) ((from + done) / columns);
        int first = (int) ((from + done) % columns);
        int count = Math.min(columns - first, values.limit() - done);
        product(rowIndex, first, count, row);
        for (int i = 0; i < count; i++) {
          values.put(done + i, (float) (values.get(done + i) + scale * row[i]));
        }
        done += count;
      }
    }

    private void product(int rowIndex, int first, int count, float[] row) {
      Arrays.fill(row, 0, count, 0);
      for (int k = 0; k < rank; k++) {
        float factor = left[rowIndex * rank + k];
        int at = k * columns() + first;
        for (int i = 0; i < count; i++) {
          row[i] += factor * right[at + i];
        }
      }
    }

    private int columns() {
      return right.length / rank;
    }
  }
}
