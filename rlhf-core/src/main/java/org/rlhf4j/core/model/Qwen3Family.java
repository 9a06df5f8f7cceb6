package org.rlhf4j.core.model;

/** Qwen 3: Llama with norms on the heads of queries and keys. */
final class Qwen3Family extends ModelFamily {
  Qwen3Family() {
    super("qwen3", "Qwen3", LlamaFamily.NAMES);
  }

  @Override
  DecoderSpec read(ConfigReader reader) {
    int headDim = reader.intOr("head_dim", 128);
    boolean bias = reader.flagOr("attention_bias", false);
    var projections = new AttentionSpec.Projections(AttentionSpec.Layout.APART, bias, bias, true);
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
