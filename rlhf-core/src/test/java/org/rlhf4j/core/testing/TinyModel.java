package org.rlhf4j.core.testing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;

/**
 * A random LLaMA with two layers and the byte tokenizer of {@link TestTokenizers#bytes}, written as
 * a Hugging Face folder: a model to train in tests where no other is at hand.
 */
public final class TinyModel {
  /** The longest row, in tokens. */
  public static final int POSITIONS = 128;

  private static final int VOCABULARY = TestTokenizers.BYTES_SIZE;
  private static final int WIDTH = 16;
  private static final int HEADS = 4;
  private static final int KEY_VALUE_HEADS = 2;
  private static final int INNER = 24;
  private static final int LAYERS = 2;

  private TinyModel() {}

  /**
   * Writes a language model of 10,000 parameters, its head tied to the embedding.
   *
   * @param folder is created
   * @return the folder
   */
  public static Path causalLm(Path folder, long seed) throws IOException {
    return write(folder, seed, "LlamaForCausalLM", List.of());
  }

  /** Writes the same trunk under a score head. */
  public static Path rewardModel(Path folder, long seed) throws IOException {
    TensorSource head =
        floats(new Random(seed + 1), "score.weight", 0, 0.5f, new long[] {1, WIDTH});
    return write(folder, seed, "LlamaForSequenceClassification", List.of(head));
  }

  private static Path write(Path folder, long seed, String architecture, List<TensorSource> head)
      throws IOException {
    TestTokenizers.bytes(folder);
    Files.writeString(
        folder.resolve("config.json"),
        """
        {"architectures": ["%s"], "model_type": "llama", "vocab_size": %d, "hidden_size": %d,
         "intermediate_size": %d, "num_hidden_layers": %d, "num_attention_heads": %d,
         "num_key_value_heads": %d, "max_position_embeddings": %d, "rms_norm_eps": 1e-5,
         "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true,
         "attention_bias": false, "mlp_bias": false, "bos_token_id": %d, "eos_token_id": %d,
         "num_labels": 1, "torch_dtype": "float32"}
        """
            .formatted(
                architecture,
                VOCABULARY,
                WIDTH,
                INNER,
                LAYERS,
                HEADS,
                KEY_VALUE_HEADS,
                POSITIONS,
                TestTokenizers.BOS,
                TestTokenizers.EOS));
    Random random = new Random(seed);
    List<TensorSource> tensors = new ArrayList<>();
    tensors.add(matrix(random, "model.embed_tokens.weight", VOCABULARY, WIDTH));
    int keyWidth = WIDTH / HEADS * KEY_VALUE_HEADS;
    for (int layer = 0; layer < LAYERS; layer++) {
      String prefix = "model.layers." + layer + ".";
      tensors.add(matrix(random, prefix + "self_attn.q_proj.weight", WIDTH, WIDTH));
      tensors.add(matrix(random, prefix + "self_attn.k_proj.weight", keyWidth, WIDTH));
      tensors.add(matrix(random, prefix + "self_attn.v_proj.weight", keyWidth, WIDTH));
      tensors.add(matrix(random, prefix + "self_attn.o_proj.weight", WIDTH, WIDTH));
      tensors.add(matrix(random, prefix + "mlp.gate_proj.weight", INNER, WIDTH));
      tensors.add(matrix(random, prefix + "mlp.up_proj.weight", INNER, WIDTH));
      tensors.add(matrix(random, prefix + "mlp.down_proj.weight", WIDTH, INNER));
      tensors.add(norm(random, prefix + "input_layernorm.weight"));
      tensors.add(norm(random, prefix + "post_attention_layernorm.weight"));
    }
    tensors.add(norm(random, "model.norm.weight"));
    tensors.addAll(head);
    SafetensorsWriter.writeModel(folder, tensors);
    return folder;
  }

  private static TensorSource matrix(Random random, String name, int rows, int columns) {
    return floats(random, name, 0, 0.3f, new long[] {rows, columns});
  }

  private static TensorSource norm(Random random, String name) {
    return floats(random, name, 1, 0.1f, new long[] {WIDTH});
  }

  private static TensorSource floats(
      Random random, String name, float mean, float spread, long[] shape) {
    int count = 1;
    for (long dimension : shape) {
      count *= (int) dimension;
    }
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = mean + spread * (float) random.nextGaussian();
    }
    return TensorSource.floats(name, StoredType.F32, shape, values);
  }
}
