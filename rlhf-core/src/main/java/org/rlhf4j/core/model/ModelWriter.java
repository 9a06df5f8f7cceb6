package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.checkpoint.ConfigJson;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.SaveFormat;

/**
 * Writes a model as the Hugging Face folder that it came from, with other weights: configuration,
 * weights, and the start model's tokenizer and generation files. Each file is complete or absent,
 * whatever happens. Weights are read from the fp32 masters where there are any.
 */
public final class ModelWriter {
  private ModelWriter() {}

  /**
   * Writes a language model.
   *
   * @param target an existing folder
   * @param start the folder that the model came from
   * @param format how the weights are stored
   */
  public static void causalLm(Path target, ModelFolder start, Weights weights, SaveFormat format) {
    String architecture = ModelFamilies.of(start).family().architecture(ModelHead.CAUSAL_LM);
    write(
        target,
        start,
        ConfigJson.causalLm(start.config(), architecture, format.type()),
        weights,
        format);
  }

  /**
   * Writes a reward model.
   *
   * @param target an existing folder
   * @param start the folder that the model, or its trunk, came from
   * @param format how the weights are stored
   * @param padTokenId see {@link ConfigJson#rewardPadTokenId}
   */
  public static void rewardModel(
      Path target, ModelFolder start, Weights weights, SaveFormat format, int padTokenId) {
    String architecture =
        ModelFamilies.of(start).family().architecture(ModelHead.SEQUENCE_CLASSIFICATION);
    ObjectNode config = ConfigJson.reward(start.config(), architecture, format.type(), padTokenId);
    write(target, start, config, weights, format);
  }

  private static void write(
      Path target, ModelFolder start, ObjectNode config, Weights weights, SaveFormat format) {
    start.carryTo(target);
    AtomicFiles.write(target.resolve("config.json"), ConfigJson.toBytes(config));
    SafetensorsWriter.writeModel(target, weights.sources(format.type()), format.maxShardBytes());
  }
}
