package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Maps one kind of Hugging Face model to the decoder: its configuration and its tensor names. */
public interface ModelFamily {

  /** The {@code model_type} of the configurations it reads. */
  String modelType();

  /** The {@code architectures} entry of a model with that head. */
  String architecture(ModelHead head);

  /**
   * Reads a configuration.
   *
   * @param config the parsed {@code config.json}
   * @param file where it comes from, for messages
   * @throws org.rlhf4j.core.RlhfException naming the key for a value that is missing, of the wrong
   *     type, out of range or not supported, and for a key whose meaning is not known
   */
  DecoderSpec read(JsonNode config, Path file);

  /** The trunk's parameters in the order the decoder takes them, without any head. */
  List<ParameterSpec> parameters(DecoderSpec spec);

  /** The token embedding's name, also the head's where it is tied. */
  String embeddingName();

  /** The name of the head's weight; a tied language-model head may be stored under it too. */
  default String headName(ModelHead head) {
    return switch (head) {
      case CAUSAL_LM -> "lm_head.weight";
      case SEQUENCE_CLASSIFICATION -> "score.weight";
    };
  }

  /**
   * What the names of the trunk's parameters begin with, with its dot. Files that were saved from
   * the trunk alone leave it out.
   */
  default String prefix() {
    return embeddingName().substring(0, embeddingName().indexOf('.') + 1);
  }

  /**
   * Whether a checkpoint may hold this tensor although no parameter has its name. By default the
   * frequencies of rotary positions, which older files carry.
   */
  default boolean isDerived(String tensorName) {
    return tensorName.endsWith(".rotary_emb.inv_freq");
  }

  /** The head's own parameters: no weight for a language-model head tied to the embedding. */
  default List<ParameterSpec> headParameters(DecoderSpec spec, ModelHead head) {
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
