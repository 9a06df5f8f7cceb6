package org.rlhf4j.core.testing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.StreamSupport;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ParameterSpec;

/**
 * A random language model of two layers for each family, with the byte tokenizer of {@link
 * TestTokenizers#bytes}. The configurations stand in {@code families.json}.
 */
public final class TinyFamilies {
  /** The longest row of each model, in tokens. */
  public static final int POSITIONS = 128;

  private TinyFamilies() {}

  /** The {@code model_type} of each family. */
  public static List<String> modelTypes() throws IOException {
    return StreamSupport.stream(configs().spliterator(), false)
        .map(config -> config.path("model_type").asText())
        .toList();
  }

  /** The class of a family's language model in Hugging Face's library. */
  public static String architecture(String modelType) throws IOException {
    return config(modelType).path("architectures").path(0).asText();
  }

  /** The {@code config.json} of a family's model. */
  public static ObjectNode config(String modelType) throws IOException {
    return (ObjectNode)
        StreamSupport.stream(configs().spliterator(), false)
            .filter(each -> each.path("model_type").asText().equals(modelType))
            .findFirst()
            .orElseThrow();
  }

  private static JsonNode configs() throws IOException {
    try (InputStream file = TinyFamilies.class.getResourceAsStream("/families.json")) {
      return new ObjectMapper().readTree(file);
    }
  }

  /**
   * Writes a language model as a Hugging Face folder.
   *
   * @param folder is created
   * @return the folder
   */
  public static Path causalLm(Path folder, String modelType, long seed) throws IOException {
    TestTokenizers.bytes(folder);
    Path file = folder.resolve("config.json");
    JsonNode config = config(modelType);
    Files.writeString(file, config.toString());
    Random random = new Random(seed);
    List<TensorSource> tensors = new ArrayList<>();
    for (ParameterSpec parameter : ModelFamilies.of(config, file).parameters()) {
      tensors.add(tensor(parameter, random));
    }
    SafetensorsWriter.writeModel(folder, tensors);
    return folder;
  }

  /** Matrices around 0, the weights of norms around 1, no bias zero. */
  private static TensorSource tensor(ParameterSpec parameter, Random random) {
    boolean matrix = parameter.dimensions().size() > 1;
    float mean = matrix || parameter.name().endsWith("bias") ? 0 : 1;
    float[] values = new float[Math.toIntExact(parameter.elements())];
    for (int i = 0; i < values.length; i++) {
      values[i] = mean + (matrix ? 0.3f : 0.1f) * (float) random.nextGaussian();
    }
    long[] shape = parameter.dimensions().stream().mapToLong(Long::longValue).toArray();
    return TensorSource.floats(parameter.name(), StoredType.F32, shape, values);
  }
}
