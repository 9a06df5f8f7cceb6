package org.rlhf4j.core.generate;

import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.Overlong;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.train.Compute;

/** Generates responses to a file of prompts and writes them, one row per prompt, in its order. */
public final class GenerationRun {
  private final GenerationConfig config;
  private final Console console;

  /** A run that shows its progress on a console. */
  public GenerationRun(GenerationConfig config, Console console) {
    this.config = config;
    this.console = console;
  }

  /**
   * What was done.
   *
   * @param prompts rows written
   * @param responses of all prompts
   * @param tokens of all responses
   * @param finished responses by the reason of their end
   * @param seconds spent on generating
   */
  public record Summary(
      int prompts, int responses, long tokens, Map<FinishReason, Long> finished, double seconds) {}

  /**
   * Reads, generates and writes. The output file appears when everything is done.
   *
   * @throws RlhfException on an output that cannot be written (found out first) and on unusable
   *     input, a prompt that fills the model's context among it
   */
  public Summary run() {
    AtomicFiles.requireWritable(config.outputPath());
    ModelFolder folder = ModelFolder.open(Path.of(config.modelNameOrPath()));
    DecoderSpec spec = ModelFamilies.of(folder).spec();
    int[] eosIds = ModelGenerationConfig.of(folder, spec.vocabularySize()).eosIds();
    try (Tokenizer tokenizer =
        Tokenizer.existsIn(folder.path()) ? Tokenizer.load(folder.path()) : null) {
      EncodedDataset<PromptRow> data = load(tokenizer, spec);
      data.report().lines().forEach(console::line);
      try (Compute compute = Compute.open(config.device(), config.dtype());
          CausalLm model =
              ModelLoader.causalLm(
                  compute.torch(), folder, new ModelLoader.Options(compute.type(), false));
          Generator generator = new Generator(model, tokenizer, config.sampling(), eosIds)) {
        long start = System.nanoTime();
        List<List<Response>> responses = generate(generator, data.rows());
        double seconds = (System.nanoTime() - start) * 1e-9;
        JsonLines.write(
            config.outputPath(),
            data.size(),
            (json, row) ->
                write(json, data.rows().get(row), responses.get(row), tokenizer != null));
        Summary summary = summary(responses, seconds);
        console.line(line(summary, compute.dtypeName()));
        return summary;
      }
    }
  }

  private EncodedDataset<PromptRow> load(Tokenizer tokenizer, DecoderSpec spec) {
    RowEncoder.Options options =
        new RowEncoder.Options(
            config.template(), spec.maxPositions() - 1, Overlong.ERROR, false, true);
    RowEncoder encoder = new RowEncoder(tokenizer, spec.vocabularySize(), options);
    return EncodedDataset.loadPrompts(config.datasetPath(), encoder, config.maxBadRows());
  }

  private List<List<Response>> generate(Generator generator, List<PromptRow> prompts) {
    Generator.Plan plan =
        new Generator.Plan(config.numReturnSequences(), config.batchSize(), config.seed(), 0);
    try (Progress progress = console.progress("generate", prompts.size(), "prompts")) {
      return generator.generate(prompts, plan, progress::advance);
    }
  }

  private static void write(
      JsonGenerator json, PromptRow prompt, List<Response> responses, boolean withText)
      throws IOException {
    json.writeNumberField("index", prompt.index());
    if (withText) {
      json.writeStringField("prompt", prompt.text());
    }
    json.writeArrayFieldStart("responses");
    for (Response response : responses) {
      json.writeStartObject();
      json.writeStringField("text", response.text());
      json.writeFieldName("token_ids");
      json.writeArray(response.tokenIds(), 0, response.tokenIds().length);
      JsonLines.numbers(json, "log_probs", response.logProbs());
      json.writeStringField("finish_reason", response.finishReason().label());
      json.writeEndObject();
    }
    json.writeEndArray();
  }

  private static Summary summary(List<List<Response>> responses, double seconds) {
    Map<FinishReason, Long> finished = new EnumMap<>(FinishReason.class);
    Arrays.stream(FinishReason.values()).forEach(reason -> finished.put(reason, 0L));
    int count = 0;
    long tokens = 0;
    for (List<Response> ofPrompt : responses) {
      for (Response response : ofPrompt) {
        count++;
        tokens += response.tokenIds().length;
        finished.merge(response.finishReason(), 1L, Long::sum);
      }
    }
    return new Summary(responses.size(), count, tokens, finished, seconds);
  }

  private String line(Summary summary, String dtype) {
    String finished =
        summary.finished().entrySet().stream()
            .map(entry -> entry.getKey().label() + " " + Format.count(entry.getValue()))
            .collect(Collectors.joining(", "));
    return ("generate: %s prompts, %s responses, %s tokens in %s (%s tokens/s, %s); "
            + "mean length %s; %s → %s")
        .formatted(
            Format.count(summary.prompts()),
            Format.count(summary.responses()),
            Format.count(summary.tokens()),
            Format.duration(summary.seconds()),
            Format.number(summary.tokens() / summary.seconds()),
            dtype,
            Format.number((double) summary.tokens() / summary.responses()),
            finished,
            config.outputPath());
  }
}
