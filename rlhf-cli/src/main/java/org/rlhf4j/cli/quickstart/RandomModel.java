package org.rlhf4j.cli.quickstart;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ParameterSpec;

/** A model of another size beside a small one, with its tokenizer and random weights. */
final class RandomModel {
  private static final String CONFIG = "config.json";
  private static final List<String> COPIED =
      List.of("generation_config.json", "tokenizer.json", "tokenizer_config.json");
  private static final double STANDARD_DEVIATION = 0.02;

  private RandomModel() {}

  /**
   * How large the model is.
   *
   * @param width of its hidden states, a multiple of 16
   */
  record Size(int layers, int width) {}

  /**
   * Writes it.
   *
   * @param like the folder of the small model
   * @return its parameters
   */
  static long write(Path like, Size size, Path folder) {
    try {
      ObjectNode config = (ObjectNode) new JsonMapper().readTree(like.resolve(CONFIG).toFile());
      config.put("num_hidden_layers", size.layers());
      config.put("hidden_size", size.width());
      config.put("intermediate_size", size.width() * 8 / 3);
      Files.createDirectories(folder);
      Files.writeString(folder.resolve(CONFIG), config.toString());
      for (String name : COPIED) {
        Files.copy(like.resolve(name), folder.resolve(name));
      }
      List<ParameterSpec> parameters = ModelFamilies.of(config, like.resolve(CONFIG)).parameters();
      SafetensorsWriter.writeModel(folder, tensors(parameters));
      return parameters.stream().mapToLong(ParameterSpec::elements).sum();
    } catch (IOException e) {
      throw RlhfException.environment(folder + ": cannot be written: " + e.getMessage(), e);
    }
  }

  private static List<TensorSource> tensors(List<ParameterSpec> parameters) {
    List<TensorSource> tensors = new ArrayList<>();
    for (ParameterSpec parameter : parameters) {
      tensors.add(
          TensorSource.floats(
              parameter.name(),
              StoredType.F32,
              parameter.shape(),
              (from, target) -> fill(parameter, from, target)));
    }
    return tensors;
  }

  /** Uniform weights, and norms of 1. */
  private static void fill(ParameterSpec parameter, long from, FloatBuffer target) {
    SplittableRandom random = new SplittableRandom(parameter.name().hashCode() + from);
    double most = STANDARD_DEVIATION * Math.sqrt(3);
    while (target.hasRemaining()) {
      double value = most * (2 * random.nextDouble() - 1);
      target.put(parameter.weightDecay() ? (float) value : 1f);
    }
  }
}
