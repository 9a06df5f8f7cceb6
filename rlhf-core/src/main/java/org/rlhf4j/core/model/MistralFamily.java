package org.rlhf4j.core.model;

/** Mistral: Llama with a window. */
final class MistralFamily extends ModelFamily {
  MistralFamily() {
    super("mistral", "Mistral", LlamaFamily.NAMES);
  }

  @Override
  DecoderSpec read(ConfigReader reader) {
    int headDim = LlamaKeys.headDim(reader);
    // Hugging Face's default is a window of 4096; null stands for none.
    int window = reader.isNull("sliding_window") ? 0 : reader.intOr("sliding_window", 4096);
    return LlamaKeys.decoder(
        reader,
        modelType(),
        new LlamaKeys.Own(
            131072,
            LlamaKeys.attention(
                reader,
                LlamaKeys.keyValueHeads(reader, 8),
                headDim,
                AttentionSpec.Projections.PLAIN,
                LlamaKeys.everywhere(reader, window)),
            LlamaKeys.mlp(reader, MlpSpec.Gate.APART, false),
            1e-6,
            RopeReader.whole(reader, headDim)));
  }
}
