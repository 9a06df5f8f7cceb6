package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.rlhf4j.core.RlhfException;

/**
 * Maps one kind of Hugging Face model to the decoder: its configuration and its tensor names. A
 * family is a class that says which names and how the configuration is read, and a line of {@link
 * ModelFamilies}.
 */
public abstract class ModelFamily {
  private final String modelType;
  private final String classes;
  private final TrunkNames names;
  private final Set<String> harmless;

  /**
   * A family.
   *
   * @param modelType the {@code model_type} of the configurations it reads
   * @param classes what the names of Hugging Face's classes begin with
   * @param names of the trunk's parameters
   * @param harmless keys of its configurations, beside those that many have, which do not change
   *     what the model computes
   */
  ModelFamily(String modelType, String classes, TrunkNames names, String... harmless) {
    this.modelType = modelType;
    this.classes = classes;
    this.names = names;
    this.harmless = CommonKeys.harmlessAnd(harmless);
  }

  /** The {@code model_type} of the configurations it reads. */
  public final String modelType() {
    return modelType;
  }

  /** The {@code architectures} entry of a model with that head. */
  public String architecture(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> classes + "ForCausalLM";
      case SEQUENCE_CLASSIFICATION -> classes + "ForSequenceClassification";
    };
  }

  /**
   * Reads a configuration.
   *
   * @param config the parsed {@code config.json}
   * @param file where it comes from, for messages
   * @throws RlhfException naming the key for a value that is missing, of the wrong type, out of
   *     range or not supported, and for a key whose meaning is not known
   */
  public final DecoderSpec read(JsonNode config, Path file) {
    ConfigReader reader = new ConfigReader(config, file, "");
    CommonKeys.requireSupported(reader);
    try {
      DecoderSpec spec = read(reader);
      reader.refuseOthers(harmless);
      return spec;
    } catch (IllegalArgumentException e) {
      throw RlhfException.input(file + ": " + e.getMessage(), e);
    }
  }

  /**
   * Reads all keys that decide what is computed; those that it leaves unread are refused.
   *
   * @throws IllegalArgumentException on values that contradict each other or are out of range
   */
  abstract DecoderSpec read(ConfigReader reader);

  /** The trunk's parameters in the order the decoder takes them, without any head. */
  public final List<ParameterSpec> parameters(DecoderSpec spec) {
    return names.parameters(spec);
  }

  /** The token embedding's name, also the head's where it is tied. */
  public final String embeddingName() {
    return names.embedding() + ".weight";
  }

  /** The name of the head's weight; a tied language-model head may be stored under it too. */
  public String headName(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> "lm_head.weight";
      case SEQUENCE_CLASSIFICATION -> "score.weight";
    };
  }

  /**
   * What the names of the trunk's parameters begin with, with its dot. Files that were saved from
   * the trunk alone leave it out.
   */
  public final String prefix() {
    return embeddingName().substring(0, embeddingName().indexOf('.') + 1);
  }

  /**
   * Whether a checkpoint may hold this tensor although no parameter has its name. By default the
   * frequencies of rotary positions, which older files carry.
   */
  public boolean isDerived(String tensorName) {
    return tensorName.endsWith(".rotary_emb.inv_freq");
  }

  /** Whether a tensor is a causal mask, or its value, that older files carry in a module. */
  static boolean isMask(String tensorName, String module) {
    return tensorName.endsWith("." + module + ".bias")
        || tensorName.endsWith("." + module + ".masked_bias");
  }

  /** The head's own parameters: no weight for a language-model head tied to the embedding. */
  public final List<ParameterSpec> headParameters(DecoderSpec spec, ModelHead head) {
    List<ParameterSpec> parameters = new ArrayList<>();
    int width = spec.embedding().width();
    if (head == ModelHead.SEQUENCE_CLASSIFICATION) {
      parameters.add(ParameterSpec.weight(headName(head), 1, width));
      return parameters;
    }
    if (!spec.head().tied()) {
      parameters.add(ParameterSpec.weight(headName(head), spec.vocabularySize(), width));
    }
    if (spec.head().bias()) {
      String name = headName(head).replace(".weight", ".bias");
      parameters.add(ParameterSpec.undecayed(name, spec.vocabularySize()));
    }
    return parameters;
  }
}
