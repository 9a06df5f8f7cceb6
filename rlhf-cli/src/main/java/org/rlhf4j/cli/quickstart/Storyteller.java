package org.rlhf4j.cli.quickstart;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.generate.SamplingConfig;
import org.rlhf4j.core.generate.Scorer;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.train.Compute;

/** A model that writes stories, and says how likely it finds them. Closed by its owner. */
final class Storyteller implements AutoCloseable {
  /** Stories that are written side by side. */
  static final int BATCH_SIZE = 256;

  private static final int ROWS_SCORED = 64;

  private final CausalLm model;
  private final Tokenizer tokenizer;

  private Storyteller(CausalLm model, Tokenizer tokenizer) {
    this.model = model;
    this.tokenizer = tokenizer;
  }

  static Storyteller open(Compute compute, Path folder) {
    ModelFolder files = ModelFolder.open(folder);
    ModelLoader.Options options = new ModelLoader.Options(compute.type(), false);
    return new Storyteller(
        ModelLoader.causalLm(compute.torch(), files, options), Tokenizer.load(folder));
  }

  CausalLm model() {
    return model;
  }

  Tokenizer tokenizer() {
    return tokenizer;
  }

  /** The prompts as the model reads them, numbered from 0. */
  List<PromptRow> rows(List<String> prompts) {
    List<PromptRow> rows = new ArrayList<>();
    for (String prompt : prompts) {
      rows.add(new PromptRow(rows.size(), prompt, tokenizer.encode(prompt)));
    }
    return rows;
  }

  /**
   * How stories are drawn.
   *
   * @param temperature divides the logits
   * @param longest tokens of a story
   * @param endIds tokens that end a story
   * @param plan samples and randomness
   */
  record Draw(double temperature, int longest, int[] endIds, Generator.Plan plan) {}

  /** Stories to prompts, in their order. */
  List<List<Response>> write(List<PromptRow> prompts, Draw draw, IntConsumer finished) {
    SamplingConfig sampling =
        Config.of(SamplingConfig.class)
            .set("temperature", draw.temperature())
            .set("max_new_tokens", draw.longest())
            .build();
    try (Generator generator = new Generator(model, tokenizer, sampling, draw.endIds())) {
      return generator.generate(prompts, draw.plan(), finished);
    }
  }

  /** The log-probability of each row's targets together, in nats. */
  double[] logProbs(List<TokenRow> rows) {
    return new Scorer(ROWS_SCORED, done -> {})
        .logProbs(model, rows).stream().mapToDouble(Storyteller::sum).toArray();
  }

  private static double sum(float[] values) {
    double sum = 0;
    for (float value : values) {
      sum += value;
    }
    return sum;
  }

  @Override
  public void close() {
    model.close();
    tokenizer.close();
  }
}
