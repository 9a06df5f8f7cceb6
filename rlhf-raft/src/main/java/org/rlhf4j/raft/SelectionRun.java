package org.rlhf4j.raft;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPInputStream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.Encoded;
import org.rlhf4j.core.data.Example;
import org.rlhf4j.core.data.Overlong;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.data.RowOrigin;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.text.Template;
import org.rlhf4j.core.text.Tokenizer;

/**
 * Writes the best of scored responses as training rows: {@code generate}, {@code score}, {@code
 * select} and {@code sft} one after the other do what an iteration of {@code raft} does.
 */
public final class SelectionRun {
  private static final JsonMapper JSON =
      JsonMapper.builder().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();

  private final SelectConfig config;
  private final Console console;

  /** A run that says on a console what became of the responses. */
  public SelectionRun(SelectConfig config, Console console) {
    this.config = config;
    this.console = console;
  }

  /**
   * What became of the responses; the last four add up to the second.
   *
   * @param prompts rows read
   * @param responses of all prompts
   * @param selected written
   * @param passedOver not among the best
   * @param discarded by the pattern
   * @param withoutText selected, but without a text to train on; 0 where tokens are written
   */
  public record Summary(
      int prompts, int responses, int selected, int passedOver, int discarded, int withoutText) {}

  /** A line of a file. */
  private record Line(String place, JsonNode row) {}

  /** A response where it stands; rows are counted over all files. */
  private record Found(Line line, int row, int sample) {
    JsonNode response() {
      return line.row().path("responses").path(sample);
    }
  }

  private record Name(int index, int sample) {}

  /**
   * Reads, selects and writes. The output file appears when everything is done.
   *
   * @throws RlhfException on unusable rows, by file and line; on responses without a score and
   *     scores without a response; where nothing is left to write
   */
  public Summary run() {
    List<Line> rows = new ArrayList<>();
    config.datasetPath().forEach(file -> rows.addAll(read(file)));
    if (rows.isEmpty()) {
      throw RlhfException.input(config.datasetPath() + ": no rows");
    }
    List<Found> all = new ArrayList<>();
    for (int row = 0; row < rows.size(); row++) {
      Line line = rows.get(row);
      JsonNode responses = line.row().path("responses");
      require(line, line.row().path("index").canConvertToInt(), "has no integer index");
      require(line, responses.isArray() && !responses.isEmpty(), "has no list of responses");
      for (int sample = 0; sample < responses.size(); sample++) {
        boolean hasText = responses.path(sample).path("text").isTextual();
        require(line, hasText, "responses[" + sample + "] has no text");
        all.add(new Found(line, row, sample));
      }
    }
    double[] scores = config.scoresPath() == null ? ownScores(all) : joinedScores(all);

    List<RaftSelection.Candidate> candidates = new ArrayList<>();
    for (int i = 0; i < scores.length; i++) {
      Found found = all.get(i);
      String text = found.response().path("text").textValue();
      candidates.add(
          new RaftSelection.Candidate(
              found.row(),
              found.sample(),
              config.cleanText() ? RaftSelection.cleanedAsLmflow(text) : text,
              scores[i]));
    }
    RaftSelection.Outcome outcome = RaftSelection.select(candidates, config.best().rule());
    List<ObjectNode> written = new ArrayList<>();
    double sum = 0;
    try (Tokenizer tokenizer = tokenizer()) {
      for (int place : outcome.selected()) {
        ObjectNode row = row(all.get(place), candidates.get(place), tokenizer);
        if (row != null) {
          written.add(row);
          sum += scores[place];
        }
      }
    }
    if (written.isEmpty()) {
      throw RlhfException.input(
          "nothing to write: of %d responses %d are discarded, and %d selected ones have no text"
              .formatted(scores.length, outcome.discarded().length, outcome.selected().length));
    }
    IterationFiles.write(config.outputPath(), written.size(), written::get);
    Summary summary =
        new Summary(
            rows.size(),
            scores.length,
            written.size(),
            outcome.passedOver().length,
            outcome.discarded().length,
            outcome.selected().length - written.size());
    console.line(
        "select: %s responses to %s prompts: %s selected (mean score %s, of all %s), %s passed over, %s discarded, %s without text → %s"
            .formatted(
                Format.count(summary.responses()),
                Format.count(summary.prompts()),
                Format.count(summary.selected()),
                Format.number(sum / summary.selected()),
                Format.number(Arrays.stream(scores).average().orElseThrow()),
                Format.count(summary.passedOver()),
                Format.count(summary.discarded()),
                Format.count(summary.withoutText()),
                config.outputPath()));
    return summary;
  }

  private Tokenizer tokenizer() {
    boolean reads = config.outputFormat() == RowFormat.TOKENS && config.modelNameOrPath() != null;
    return reads ? Tokenizer.load(Path.of(config.modelNameOrPath())) : null;
  }

  /** A training row; null for a response whose text is empty. */
  private ObjectNode row(Found found, RaftSelection.Candidate candidate, Tokenizer tokenizer) {
    Line line = found.line();
    ObjectNode row =
        JSON.createObjectNode()
            .put("index", line.row().path("index").intValue())
            .put("sample", found.sample())
            .put("score", candidate.reward());
    if (config.outputFormat() == RowFormat.TOKENS) {
      JsonNode response = found.response().path("token_ids");
      require(
          line,
          response.isArray() && !response.isEmpty(),
          "has no token_ids in responses[" + found.sample() + "], for output_format tokens");
      int[] ids = IterationFiles.ids(response);
      IterationFiles.putTokens(row, promptIds(line, tokenizer), ids);
      return row;
    }
    JsonNode prompt = line.row().path("prompt");
    require(
        line,
        prompt.isTextual() && !prompt.textValue().isEmpty(),
        "has no prompt text; output_format tokens needs none");
    return candidate.text().isEmpty()
        ? null
        : row.put("prompt", prompt.textValue()).put("completion", candidate.text());
  }

  /** The prompt's ids as they are given, else as {@code generate} makes them of a prompt's text. */
  private static int[] promptIds(Line line, Tokenizer tokenizer) {
    JsonNode ids = line.row().path("prompt_token_ids");
    if (ids.isArray() && !ids.isEmpty()) {
      return IterationFiles.ids(ids);
    }
    JsonNode prompt = line.row().path("prompt");
    require(
        line,
        tokenizer != null && prompt.isTextual(),
        "has no prompt_token_ids; model_name_or_path names a folder whose tokenizer reads prompt");
    RowEncoder encoder =
        new RowEncoder(
            tokenizer,
            tokenizer.vocabularySize(),
            new RowEncoder.Options(Template.NONE, Integer.MAX_VALUE, Overlong.ERROR, false, true));
    RowOrigin origin = new RowOrigin(Path.of(line.place()), 0, 0);
    Encoded<PromptRow> encoded =
        encoder.encodePrompt(new Example.Prompt(origin, prompt.textValue()));
    require(line, encoded instanceof Encoded.Kept, "has a prompt without a token");
    return ((Encoded.Kept<PromptRow>) encoded).value().ids();
  }

  private static double[] ownScores(List<Found> all) {
    double[] scores = new double[all.size()];
    for (int i = 0; i < scores.length; i++) {
      Found found = all.get(i);
      JsonNode score = found.response().path("score");
      require(
          found.line(),
          score.isNumber(),
          "responses[" + found.sample() + "] has no score; scores_path names a file of scores");
      scores[i] = score.doubleValue();
    }
    return scores;
  }

  private double[] joinedScores(List<Found> all) {
    Map<Name, Integer> places = new HashMap<>();
    for (int i = 0; i < all.size(); i++) {
      Found found = all.get(i);
      Name name = new Name(found.line().row().path("index").intValue(), found.sample());
      Integer other = places.put(name, i);
      require(
          found.line(),
          other == null,
          "has index " + name.index() + " like another row, so scores cannot be told apart");
    }
    double[] scores = new double[all.size()];
    boolean[] scored = new boolean[all.size()];
    for (Line line : read(config.scoresPath())) {
      JsonNode index = line.row().path("index");
      JsonNode sample = line.row().path("sample");
      JsonNode score = line.row().path("score");
      require(
          line,
          index.canConvertToInt() && sample.canConvertToInt() && score.isNumber(),
          "needs the numbers index, sample and score");
      Name name = new Name(index.intValue(), sample.intValue());
      Integer place = places.get(name);
      String response = "response " + name.sample() + " to prompt " + name.index();
      require(line, place != null, "scores " + response + ", which is not there");
      require(line, !scored[place], "scores " + response + " again");
      scores[place] = score.doubleValue();
      scored[place] = true;
    }
    for (int i = 0; i < scored.length; i++) {
      Found found = all.get(i);
      require(
          found.line(),
          scored[i],
          "responses[" + found.sample() + "] has no score in " + config.scoresPath());
    }
    return scores;
  }

  private static void require(Line line, boolean rule, String otherwise) {
    if (!rule) {
      throw RlhfException.input(line.place() + ": " + otherwise);
    }
  }

  private static List<Line> read(Path file) {
    List<Line> lines = new ArrayList<>();
    int number = 0;
    try (InputStream stored = Files.newInputStream(file);
        InputStream in = file.toString().endsWith(".gz") ? new GZIPInputStream(stored) : stored;
        BufferedReader reader =
            new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8))) {
      for (String text = reader.readLine(); text != null; text = reader.readLine()) {
        number++;
        if (!text.isBlank()) {
          lines.add(new Line(file + ":" + number, JSON.readTree(text)));
        }
      }
    } catch (JsonProcessingException e) {
      throw RlhfException.input(
          file
              + ":"
              + number
              + ": broken JSON: "
              + e.getOriginalMessage().replaceFirst(" \\(start marker at .*", ""),
          e);
    } catch (IOException e) {
      throw RlhfException.input(
          "%s: cannot be read after line %d: %s".formatted(file, number, e.getMessage()), e);
    }
    return lines;
  }
}
