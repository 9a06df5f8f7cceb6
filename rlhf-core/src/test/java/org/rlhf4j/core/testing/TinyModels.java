package org.rlhf4j.core.testing;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ParameterSpec;

/**
 * Folders of LLaMA models of two small blocks with random weights, over the vocabulary of {@link
 * TestTokenizers#bytes}.
 */
public final class TinyModels {
  /** Longest row. */
  public static final int CONTEXT = 96;

  private static final JsonMapper JSON = new JsonMapper();

  private TinyModels() {}

  /** A language model with a tokenizer. */
  public static Path causalLm(Path folder, long seed) throws IOException {
    TestTokenizers.bytes(folder);
    return write(folder, "LlamaForCausalLM", seed);
  }

  /** A reward model with a tokenizer. */
  public static Path reward(Path folder, long seed) throws IOException {
    TestTokenizers.bytes(folder);
    return write(folder, "LlamaForSequenceClassification", seed);
  }

  private static Path write(Path folder, String architecture, long seed) throws IOException {
    ObjectNode config = JSON.createObjectNode();
    config.putArray("architectures").add(architecture);
    config.put("model_type", "llama").put("hidden_act", "silu");
    config.put("hidden_size", 32).put("intermediate_size", 48).put("num_hidden_layers", 2);
    config.put("num_attention_heads", 4).put("num_key_value_heads", 2);
    config.put("vocab_size", TestTokenizers.BYTES_SIZE);
    config.put("max_position_embeddings", CONTEXT).put("rms_norm_eps", 1e-5);
    config.put("rope_theta", 10000.0).put("tie_word_embeddings", false);
    config.put("bos_token_id", TestTokenizers.BOS).put("eos_token_id", TestTokenizers.EOS);
    config.put("pad_token_id", TestTokenizers.PAD).put("torch_dtype", "float32");
    if (architecture.endsWith("SequenceClassification")) {
      config.put("num_labels", 1);
    }
    Path file = folder.resolve("config.json");
    Files.writeString(file, config.toString());
    List<TensorSource> tensors = new ArrayList<>();
    for (ParameterSpec parameter : ModelFamilies.of(config, file).parameters()) {
      float[] values = new float[(int) parameter.elements()];
      boolean norm = parameter.name().contains("norm");
      for (int i = 0; i < values.length; i++) {
        double draw = CounterRandom.gaussian(seed, RandomStream.USER, tensors.size(), 0, i);
        values[i] = (float) (norm ? 1 + 0.2 * draw : 0.3 * draw);
      }
      tensors.add(TensorSource.floats(parameter.name(), StoredType.F32, parameter.shape(), values));
    }
    SafetensorsWriter.writeModel(folder, tensors);
    return folder;
  }
}
