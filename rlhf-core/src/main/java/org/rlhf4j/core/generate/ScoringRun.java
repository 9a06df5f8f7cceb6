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
import org.rlhf4j.core.train.Compute;

/**
 * Scores a file of rows with a language model or a reward model and writes one row of numbers for
 * each that is used, in the order of the input; of a row with responses one for each of these.
 */
public final class ScoringRun {
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

    List<TokenRow> sides = new ArrayList<>();
    data.rows().forEach(row -> sides.addAll(row.sides()));
    try (Compute compute = Compute.open(config.device(), config.dtype())) {
      ModelLoader.Options options = new ModelLoader.Options(compute.type(), false);
      Scored scored =
          reward
              ? withReward(compute.torch(), folder, options, sides)
              : withLanguageModel(compute.torch(), folder, options, sides);
      write(data, scored.fields());
      long tokens = sides.stream().mapToLong(TokenRow::length).sum();
      Summary summary = new Summary(data.size(), tokens, scored.seconds());
      console.line(
          "score: %s rows, %s tokens in %s (%s tokens/s, %s) → %s"
              .formatted(
                  Format.count(summary.rows()),
                  Format.count(tokens),
                  Format.duration(summary.seconds()),
                  Format.number(tokens / summary.seconds()),
                  compute.dtypeName(),
                  config.outputPath()));
      return summary;
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
        Tokenizer.existsIn(folder.path()) ? Tokenizer.load(folder.path()) : null) {
      RowEncoder encoder = new RowEncoder(tokenizer, model.spec().vocabularySize(), options);
      return EncodedDataset.loadForScoring(
          config.datasetPath(), encoder, config.maxBadRows(), needsTargets);
    }
  }

  /** How numbers are written, given the place among all sides: a response's, or the first. */
  @FunctionalInterface
  private interface Fields {
    void write(JsonGenerator json, ScoreRow row, int side) throws IOException;
  }

  /** A line of the output: a row, and which of its responses. */
  private record Written(int row, int sample) {}

  private record Scored(Fields fields, double seconds) {}

  private Scored withReward(
      Torch torch, ModelFolder folder, ModelLoader.Options options, List<TokenRow> sides) {
    try (RewardModel model = ModelLoader.rewardModel(torch, folder, options, 0);
        Progress progress = console.progress("score", sides.size(), "rows")) {
      long start = System.nanoTime();
      float[] scores = scorer(progress).scores(model, sides);
      return new Scored(
          (json, row, side) -> writeScores(json, row, scores, side), secondsSince(start));
    }
  }

  private Scored withLanguageModel(
      Torch torch, ModelFolder folder, ModelLoader.Options options, List<TokenRow> sides) {
    try (CausalLm model = ModelLoader.causalLm(torch, folder, options);
        Progress progress = console.progress("score", sides.size(), "rows")) {
      long start = System.nanoTime();
      List<float[]> logProbs = scorer(progress).logProbs(model, sides);
      return new Scored(
          (json, row, side) -> writeLogProbs(json, row, logProbs, side), secondsSince(start));
    }
  }

  private Scorer scorer(Progress progress) {
    return new Scorer(config.batchSize(), progress::advance);
  }

  private static double secondsSince(long start) {
    return (System.nanoTime() - start) * 1e-9;
  }

  private void write(EncodedDataset<ScoreRow> data, Fields fields) {
    int[] firstSide = new int[data.size()];
    for (int row = 1; row < firstSide.length; row++) {
      firstSide[row] = firstSide[row - 1] + data.rows().get(row - 1).sides().size();
    }
    List<Written> written = new ArrayList<>();
    for (int row = 0; row < firstSide.length; row++) {
      int lines = data.rows().get(row) instanceof ScoreRow.Responses all ? all.sides().size() : 1;
      for (int sample = 0; sample < lines; sample++) {
        written.add(new Written(row, sample));
      }
    }
    JsonLines.write(
        config.outputPath(),
        written.size(),
        (json, line) -> {
          Written place = written.get(line);
          ScoreRow row = data.rows().get(place.row());
          if (row instanceof ScoreRow.Responses responses) {
            json.writeNumberField("index", responses.index());
            json.writeNumberField("sample", place.sample());
          } else {
            json.writeNumberField("index", data.rowIndices()[place.row()]);
          }
          fields.write(json, row, firstSide[place.row()] + place.sample());
        });
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
