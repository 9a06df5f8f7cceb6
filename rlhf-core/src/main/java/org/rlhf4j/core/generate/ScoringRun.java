package org.rlhf4j.core.generate;

import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.data.ScoreRow;
import org.rlhf4j.core.data.TextForm;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ModelHead;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.RewardModel;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.report.Progress;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.Compute;

/**
 * Scores a file of rows with a language model or a reward model and writes one row of numbers for
 * each that is used, in the order of the input; of a row with responses one for each of these.
 */
public final class ScoringRun {
  private static final int SIDES_HELD = 4096;

  private final ScoreConfig config;
  private final Console console;

  /** A run that shows its progress on a console. */
  public ScoringRun(ScoreConfig config, Console console) {
    this.config = config;
    this.console = console;
  }

  /**
   * What was done.
   *
   * @param rows rows used
   * @param tokens tokens of these rows
   * @param seconds spent on computing
   */
  public record Summary(int rows, long tokens, double seconds) {}

  /**
   * Reads, scores and writes. The output file appears when everything is done.
   *
   * @throws RlhfException on an output that cannot be written (found out first), unusable input,
   *     and numbers that are not finite
   */
  public Summary run() {
    AtomicFiles.requireWritable(config.outputPath());
    ModelFolder folder = ModelFolder.open(Path.of(config.modelNameOrPath()));
    ModelFamilies.Model model = ModelFamilies.of(folder);
    boolean reward = model.head() == ModelHead.SEQUENCE_CLASSIFICATION;
    if (reward && Files.exists(TextForm.file(folder.path()))) {
      console.line(
          "score: append_eos %b, template %s; %s says how the model was trained"
              .formatted(
                  config.appendEos(), config.template().key(), TextForm.file(folder.path())));
    }
    EncodedDataset<ScoreRow> data = load(folder, model, !reward);
    data.report().lines().forEach(console::line);

    try (Compute compute = Compute.open(config.device(), config.dtype())) {
      ModelLoader.Options options = new ModelLoader.Options(compute.type(), false);
      Summary summary =
          reward
              ? withReward(compute.torch(), folder, options, data)
              : withLanguageModel(compute.torch(), folder, options, data);
      console.line(
          "score: %s rows, %s tokens in %s (%s tokens/s, %s) → %s"
              .formatted(
                  Format.count(summary.rows()),
                  Format.count(summary.tokens()),
                  Format.duration(summary.seconds()),
                  Format.number(summary.tokens() / summary.seconds()),
                  compute.dtypeName(),
                  config.outputPath()));
      return summary;
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
    if (config.datasetPath().stream().allMatch(Files::isRegularFile)) {
      boolean needsTargets = model.head() != ModelHead.SEQUENCE_CLASSIFICATION;
      checks.data("rows", () -> load(folder, model, needsTargets), data -> data);
    }
  }

  private EncodedDataset<ScoreRow> load(
      ModelFolder folder, ModelFamilies.Model model, boolean needsTargets) {
    int context = model.spec().maxPositions();
    if (config.maxLength() > context) {
      throw RlhfException.config(
          "max_length: %d is more than the model's context, max_position_embeddings %d"
              .formatted(config.maxLength(), context));
    }
    RowEncoder.Options options =
        new RowEncoder.Options(
            config.template(),
            config.maxLength() == 0 ? context : config.maxLength(),
            config.overlong(),
            config.appendEos(),
            true);
    try (Tokenizer tokenizer =
        Tokenizer.existsIn(folder.tokenizerPath())
            ? Tokenizer.load(folder.tokenizerPath())
            : null) {
      RowEncoder encoder = new RowEncoder(tokenizer, model.spec().vocabularySize(), options);
      if (config.maxLength() == 0) {
        encoder = encoder.limitedBy("the model's context (max_position_embeddings) is " + context);
      }
      return EncodedDataset.loadForScoring(
          config.datasetPath(), encoder, config.maxBadRows(), needsTargets);
    }
  }

  /** The numbers of a chunk's sides, and how those of a row are written. */
  @FunctionalInterface
  private interface Numbers {
    /**
     * Writes those of one document, or of a pair.
     *
     * @param side the place of the document, or of the chosen one, among the chunk's sides
     */
    void write(JsonGenerator json, ScoreRow row, int side) throws IOException;
  }

  /** Computes the numbers of the sides of a chunk. */
  @FunctionalInterface
  private interface Scoring {
    Numbers of(Scorer scorer, List<TokenRow> sides);
  }

  private Summary withReward(
      Torch torch, ModelFolder folder, ModelLoader.Options options, EncodedDataset<ScoreRow> data) {
    try (RewardModel model = ModelLoader.rewardModel(torch, folder, options, 0)) {
      return write(
          data,
          (scorer, sides) -> {
            float[] scores = scorer.scores(model, sides);
            return (json, row, side) -> writeScores(json, row, scores, side);
          });
    }
  }

  private Summary withLanguageModel(
      Torch torch, ModelFolder folder, ModelLoader.Options options, EncodedDataset<ScoreRow> data) {
    try (CausalLm model = ModelLoader.causalLm(torch, folder, options)) {
      return write(
          data,
          (scorer, sides) -> {
            List<float[]> logProbs = scorer.logProbs(model, sides);
            return (json, row, side) -> writeLogProbs(json, row, logProbs, side);
          });
    }
  }

  /** Scores and writes chunk after chunk; the scorer sorts within one, so one is held. */
  private Summary write(EncodedDataset<ScoreRow> data, Scoring scoring) {
    int all = data.rows().stream().mapToInt(row -> row.sides().size()).sum();
    long tokens =
        data.rows().stream().flatMap(row -> row.sides().stream()).mapToLong(TokenRow::length).sum();
    long start = System.nanoTime();
    try (Progress progress = console.progress("score", all, "rows")) {
      Scorer scorer = new Scorer(config.batchSize(), progress::advance);
      JsonLines.write(
          config.outputPath(),
          lines -> {
            int from = 0;
            while (from < data.size()) {
              List<TokenRow> sides = new ArrayList<>();
              int to = from;
              while (to < data.size() && sides.size() < SIDES_HELD) {
                sides.addAll(data.rows().get(to++).sides());
              }
              Numbers numbers = scoring.of(scorer, sides);
              for (int side = 0; from < to; from++) {
                ScoreRow row = data.rows().get(from);
                write(lines, row, data.origins().get(from).index(), side, numbers);
                side += row.sides().size();
              }
            }
          });
    }
    return new Summary(data.size(), tokens, (System.nanoTime() - start) * 1e-9);
  }

  /** Writes the line of a row, or one for each of its responses. */
  private static void write(
      JsonLines lines, ScoreRow row, int index, int firstSide, Numbers numbers) throws IOException {
    if (!(row instanceof ScoreRow.Responses responses)) {
      lines.add(
          json -> {
            json.writeNumberField("index", index);
            numbers.write(json, row, firstSide);
          });
      return;
    }
    for (int i = 0; i < responses.sides().size(); i++) {
      int sample = i;
      lines.add(
          json -> {
            json.writeNumberField("index", responses.index());
            json.writeNumberField("sample", sample);
            numbers.write(json, row, firstSide + sample);
          });
    }
  }

  private static void writeScores(JsonGenerator json, ScoreRow row, float[] scores, int side)
      throws IOException {
    if (row instanceof ScoreRow.Pair) {
      json.writeNumberField("chosen_score", scores[side]);
      json.writeNumberField("rejected_score", scores[side + 1]);
      json.writeNumberField("margin", (double) scores[side] - scores[side + 1]);
    } else {
      json.writeNumberField("score", scores[side]);
    }
  }

  private static void writeLogProbs(
      JsonGenerator json, ScoreRow row, List<float[]> logProbs, int side) throws IOException {
    if (row instanceof ScoreRow.Pair) {
      json.writeObjectFieldStart("chosen");
      writeLogProbs(json, logProbs.get(side));
      json.writeEndObject();
      json.writeObjectFieldStart("rejected");
      writeLogProbs(json, logProbs.get(side + 1));
      json.writeEndObject();
    } else {
      writeLogProbs(json, logProbs.get(side));
    }
  }

  private static void writeLogProbs(JsonGenerator json, float[] logProbs) throws IOException {
    double sum = 0;
    for (float logProb : logProbs) {
      sum += logProb;
    }
    double mean = sum / logProbs.length;
    double perplexity = Math.exp(-mean);
    JsonLines.numbers(json, "log_probs", logProbs);
    json.writeNumberField("sum_log_prob", sum);
    json.writeNumberField("mean_log_prob", mean);
    if (Double.isFinite(perplexity)) {
      json.writeNumberField("perplexity", perplexity);
    } else {
      // JSON has no infinity.
      json.writeNullField("perplexity");
    }
    json.writeNumberField("num_tokens", logProbs.length);
  }
}
