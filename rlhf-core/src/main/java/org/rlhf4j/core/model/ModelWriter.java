package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AdapterFolder;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.checkpoint.ConfigJson;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.SaveFormat;
import org.rlhf4j.core.checkpoint.TensorSource;

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

  /** As {@link #causalLm(Path, ModelFolder, Weights, SaveFormat)}; of an adapter, only that. */
  public static void causalLm(Path target, ModelFolder start, CausalLm model, SaveFormat format) {
    if (model.adapter() != null) {
      adapter(target, start, model.adapter(), ModelHead.CAUSAL_LM, format);
      return;
    }
    ModelFamilies.Model found = ModelFamilies.of(start);
    String architecture = found.family().architecture(ModelHead.CAUSAL_LM);
    ObjectNode config = ConfigJson.causalLm(start.config(), architecture, format.type());
    if (found.spec().head().tied() && !model.decoder().spec().head().tied()) {
      config.put("tie_word_embeddings", false);
    }
    start.carryTo(target);
    AtomicFiles.write(target.resolve("config.json"), ConfigJson.toBytes(config));
    SafetensorsWriter.writeModel(target, model.sources(format.type()), format.maxShardBytes());
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

  /**
   * As {@link #rewardModel(Path, ModelFolder, Weights, SaveFormat, int)}; of an adapter, only that,
   * the head among it. Its pad token is then that of the model's configuration.
   */
  public static void rewardModel(
      Path target, ModelFolder start, RewardModel model, SaveFormat format, int padTokenId) {
    if (model.adapter() == null) {
      rewardModel(target, start, model.weights(), format, padTokenId);
    } else {
      adapter(target, start, model.adapter(), ModelHead.SEQUENCE_CLASSIFICATION, format);
    }
  }

  /** Writes the files that PEFT reads, and those that a model has beside its weights. */
  private static void adapter(
      Path target, ModelFolder start, Adapter adapter, ModelHead head, SaveFormat format) {
    start.carryTo(target);
    ObjectNode config = AdapterConfig.write(adapter, start, head);
    AtomicFiles.write(target.resolve(AdapterFolder.CONFIG_FILE), ConfigJson.toBytes(config));
    SafetensorsWriter.write(
        target.resolve(AdapterFolder.TENSORS_FILE),
        adapter.weights().sources(format.type()),
        SafetensorsWriter.PYTORCH_METADATA);
  }

  /**
   * Writes the model of an adapter's folder with the adapter merged into its weights, in fp32
   * before they are stored.
   *
   * @param target an existing folder
   * @param start the adapter's folder
   * @param format how the weights are stored
   * @param padTokenId of a reward model, see {@link ConfigJson#rewardPadTokenId}
   * @throws RlhfException if the folder holds no adapter
   */
  public static void merged(Path target, ModelFolder start, SaveFormat format, int padTokenId) {
    AdapterFolder files =
        start
            .adapter()
            .orElseThrow(
                () ->
                    RlhfException.input(
                        start.path()
                            + ": no adapter, "
                            + AdapterFolder.CONFIG_FILE
                            + " is missing"));
    ModelFamilies.Model model = ModelFamilies.of(start);
    Weights.Source source =
        new StoredAdapter(files, model)
            .merged((parameter, from, values) -> model.read(start, parameter.name(), from, values));
    String architecture = model.family().architecture(model.head());
    ObjectNode config =
        model.head() == ModelHead.CAUSAL_LM
            ? ConfigJson.causalLm(start.config(), architecture, format.type())
            : ConfigJson.reward(start.config(), architecture, format.type(), padTokenId);
    List<TensorSource> tensors = new ArrayList<>();
    for (ParameterSpec parameter : model.parameters()) {
      tensors.add(
          TensorSource.floats(
              parameter.name(),
              format.type(),
              parameter.shape(),
              (from, values) -> source.fill(parameter, from, values)));
    }
    start.carryTo(target);
    AtomicFiles.write(target.resolve("config.json"), ConfigJson.toBytes(config));
    SafetensorsWriter.writeModel(target, tensors, format.maxShardBytes());
  }

  private static void write(
      Path target, ModelFolder start, ObjectNode config, Weights weights, SaveFormat format) {
    start.carryTo(target);
    AtomicFiles.write(target.resolve("config.json"), ConfigJson.toBytes(config));
    SafetensorsWriter.writeModel(target, weights.sources(format.type()), format.maxShardBytes());
  }
}
