package org.rlhf4j.core.generate;

import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.data.Encoded;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.Example;
import org.rlhf4j.core.data.Overlong;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.data.RowOrigin;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.text.Template;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.Compute;

/**
 * Generates responses to a file of prompts and writes them, one row per prompt, in its order. A row
 * holds the prompt's ids where its text does not say them.
 */
public final class GenerationRun {
  private static final int RESPONSES_HELD = 4096;

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
    try (Tokenizer tokenizer = tokenizer(folder)) {
      EncodedDataset<PromptRow> data = load(tokenizer, spec);
      RowEncoder reader = encoder(tokenizer, spec, Template.NONE, Integer.MAX_VALUE);
      data.report().lines().forEach(console::line);
      try (Compute compute = Compute.open(config.device(), config.dtype());
          CausalLm model =
              ModelLoader.causalLm(
                  compute.torch(), folder, new ModelLoader.Options(compute.type(), false));
          Generator generator = Generator.of(model, folder, tokenizer, config.sampling())) {
        Summary summary = write(generator, data.rows(), reader);
        console.line(line(summary, compute.dtypeName()));
        return summary;
      }
    }
  }

  /** Looks at what a run would read, without loading weights or writing anything. */
  public void check(Checks checks) {
    checks.require(() -> AtomicFiles.requireMayBeWritten(config.outputPath()));
    checks.device(config.device());
    Checks.FoundModel found = checks.model("model", Path.of(config.modelNameOrPath()));
    ModelFolder folder = found.folder();
    ModelFamilies.Model model = found.model();
    if (model == null) {
      return;
    }
    checks.require(() -> ModelLoader.checkCausalLm(folder, null));
    checks.require(
        () -> {
          try (Tokenizer tokenizer = tokenizer(folder)) {
            int vocabulary = model.spec().vocabularySize();
            checks.require(() -> Generator.check(folder, vocabulary, tokenizer, config.sampling()));
            if (config.datasetPath().stream().allMatch(Files::isRegularFile)) {
              checks.data("prompts", () -> load(tokenizer, model.spec()), data -> data);
            }
          }
        });
  }

  private static Tokenizer tokenizer(ModelFolder folder) {
    return Tokenizer.existsIn(folder.tokenizerPath())
        ? Tokenizer.load(folder.tokenizerPath())
        : null;
  }

  private EncodedDataset<PromptRow> load(Tokenizer tokenizer, DecoderSpec spec) {
    RowEncoder encoder =
        encoder(tokenizer, spec, config.template(), spec.maxPositions() - 1)
            .limitedBy(
                "the model's context (max_position_embeddings) is %d, and a response needs room"
                    .formatted(spec.maxPositions()));
    return EncodedDataset.loadPrompts(config.datasetPath(), encoder, config.maxBadRows());
  }

  /** Generates and writes chunk after chunk. */
  private Summary write(Generator generator, List<PromptRow> all, RowEncoder reader) {
    Generator.Plan plan =
        new Generator.Plan(config.numReturnSequences(), config.batchSize(), config.seed(), 0);
    boolean withText = reader.tokenizer() != null;
    Tally tally = new Tally();
    long start = System.nanoTime();
    try (Progress progress = console.progress("generate", all.size(), "prompts")) {
      JsonLines.write(
          config.outputPath(),
          lines -> {
            int chunk = promptsPerChunk();
            for (int from = 0; from < all.size(); from += chunk) {
              List<PromptRow> prompts = all.subList(from, Math.min(all.size(), from + chunk));
              List<List<Response>> responses = generator.generate(prompts, plan, progress::advance);
              for (int i = 0; i < prompts.size(); i++) {
                PromptRow prompt = prompts.get(i);
                List<Response> ofPrompt = responses.get(i);
                boolean withIds = !textSaysAll(prompt, reader);
                lines.add(json -> write(json, prompt, ofPrompt, withText, withIds));
                tally.add(ofPrompt);
              }
            }
          });
    }
    return tally.summary((System.nanoTime() - start) * 1e-9);
  }

  private static RowEncoder encoder(
      Tokenizer tokenizer, DecoderSpec spec, Template template, int maxLength) {
    RowEncoder.Options options =
        new RowEncoder.Options(template, maxLength, Overlong.ERROR, false, true);
    return new RowEncoder(tokenizer, spec.vocabularySize(), options);
  }

  /**
   * Within a chunk the generator sorts by length. Its responses are held until the last of them is
   * there, so it is a bounded number of whole batches.
   */
  private int promptsPerChunk() {
    int promptsPerBatch = Math.max(1, config.batchSize() / config.numReturnSequences());
    int responsesPerBatch = promptsPerBatch * config.numReturnSequences();
    return promptsPerBatch * Math.max(1, RESPONSES_HELD / responsesPerBatch);
  }

  /**
   * Whether the prompt's text alone is read as the ids that were continued. It is not where there
   * is none, where the row gave other ids, or where a template put special tokens between the
   * texts.
   */
  private static boolean textSaysAll(PromptRow prompt, RowEncoder reader) {
    RowOrigin nowhere = new RowOrigin(Path.of(""), 0, prompt.index());
    return !prompt.text().isEmpty()
        && reader.encodePrompt(new Example.Prompt(nowhere, prompt.text()))
            instanceof Encoded.Kept<PromptRow> kept
        && Arrays.equals(kept.value().ids(), prompt.ids());
  }

  private static void write(
      JsonGenerator json,
      PromptRow prompt,
      List<Response> responses,
      boolean withText,
      boolean withIds)
      throws IOException {
    json.writeNumberField("index", prompt.index());
    if (withText) {
      json.writeStringField("prompt", prompt.text());
    }
    if (withIds) {
      JsonLines.numbers(json, "prompt_token_ids", prompt.ids());
    }
    json.writeArrayFieldStart("responses");
    for (Response response : responses) {
      json.writeStartObject();
      json.writeStringField("text", response.text());
      JsonLines.numbers(json, "token_ids", response.tokenIds());
      JsonLines.numbers(json, "log_probs", response.logProbs());
      json.writeStringField("finish_reason", response.finishReason().label());
      json.writeEndObject();
    }
    json.writeEndArray();
  }

  /** Counts what was written. */
  private static final class Tally {
    private final Map<FinishReason, Long> finished = new EnumMap<>(FinishReason.class);
    private int prompts;
    private int responses;
    private long tokens;

    private Tally() {
      Arrays.stream(FinishReason.values()).forEach(reason -> finished.put(reason, 0L));
    }

    private void add(List<Response> ofPrompt) {
      prompts++;
      for (Response response : ofPrompt) {
        responses++;
        tokens += response.tokenIds().length;
        finished.merge(response.finishReason(), 1L, Long::sum);
      }
    }

    private Summary summary(double seconds) {
      return new Summary(prompts, responses, tokens, finished, seconds);
    }
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
