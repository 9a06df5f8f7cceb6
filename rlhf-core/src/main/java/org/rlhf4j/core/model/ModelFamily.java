package org.rlhf4j.core.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
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

  /** The head's own parameters: none for a language-model head that is tied to the embedding. */
  List<ParameterSpec> headParameters(DecoderSpec spec, ModelHead head);

  /** The token embedding's name, also the head's where it is tied. */
  String embeddingName();

  /** The name of the head's weight; a tied language-model head may be stored under it too. */
  String headName(ModelHead head);

  /** Whether a checkpoint may hold this tensor although no parameter has its name. */
  boolean isDerived(String tensorName);
}
