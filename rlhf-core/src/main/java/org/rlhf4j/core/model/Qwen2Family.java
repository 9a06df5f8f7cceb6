package org.rlhf4j.core.model;

/** Qwen 2 and 2.5: Llama with biases on queries, keys and values. */
final class Qwen2Family extends ModelFamily {
  Qwen2Family() {
    super("qwen2", "Qwen2", LlamaFamily.NAMES);
  }

  @Override
  DecoderSpec read(ConfigReader reader) {
    reader.requireUnset("use_mrope");
    int headDim = LlamaKeys.headDim(reader);
    var projections = new AttentionSpec.Projections(AttentionSpec.Layout.APART, true, false, false);
    return LlamaKeys.decoder(
        reader,
        modelType(),
        new LlamaKeys.Own(
            32768,
            LlamaKeys.attention(
                reader,
                LlamaKeys.keyValueHeads(reader, 32),
                headDim,
                projections,
                QwenReach.read(reader)),
            LlamaKeys.mlp(reader, MlpSpec.Gate.APART, false),
            1e-6,
            RopeReader.whole(reader, headDim)));
  }
}
