package org.rlhf4j.ppo;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.generate.JsonLines;
import org.rlhf4j.ppo.rollout.Floats;

/**
 * {@code rollout.jsonl} of a checkpoint: the roll-out that is being learned from, a response a
 * line. Every number is written so that reading it gives the same bits.
 */
final class ExperienceFile {
  private static final JsonMapper JSON = new JsonMapper();
  private static final String INDEX = "index";
  private static final String PROMPT_IDS = "prompt_token_ids";
  private static final String IDS = "token_ids";
  private static final String LOG_PROBS = "log_probs";
  private static final String REFERENCE_LOG_PROBS = "reference_log_probs";
  private static final String VALUES = "values";
  private static final String REWARDS = "rewards";
  private static final String ADVANTAGES = "advantages";
  private static final String RETURNS = "returns";
  private static final String PROMPT_WIDTH = "prompt_width";
  private static final String RESPONSE_WIDTH = "response_width";

  private ExperienceFile() {}

  static void write(Path file, List<Experience> samples) {
    JsonLines.write(
        file,
        samples.size(),
        (json, number) -> {
          Experience sample = samples.get(number);
          json.writeNumberField(INDEX, sample.index());
          write(json, PROMPT_IDS, sample.promptIds());
          write(json, IDS, sample.ids());
          write(json, LOG_PROBS, Floats.wide(sample.logProbs()));
          write(json, REFERENCE_LOG_PROBS, Floats.wide(sample.referenceLogProbs()));
          write(json, VALUES, Floats.wide(sample.values()));
          write(json, REWARDS, sample.rewards());
          write(json, ADVANTAGES, sample.advantages());
          write(json, RETURNS, sample.returns());
          if (sample.padded() != null) {
            json.writeNumberField(PROMPT_WIDTH, sample.padded().promptWidth());
            json.writeNumberField(RESPONSE_WIDTH, sample.padded().responseWidth());
          }
        });
  }

  private static void write(JsonGenerator json, String name, int[] values) throws IOException {
    json.writeFieldName(name);
    json.writeArray(values, 0, values.length);
  }

  private static void write(JsonGenerator json, String name, double[] values) throws IOException {
    json.writeFieldName(name);
    json.writeArray(values, 0, values.length);
  }

  /**
   * Reads what {@link #write} wrote.
   *
   * @throws RlhfException by file and line where it is something else
   */
  static List<Experience> read(Path file) {
    List<Experience> samples = new ArrayList<>();
    try {
      for (String line : Files.readAllLines(file)) {
        JsonNode row = JSON.readTree(line);
        boolean isPadded = row.has(PROMPT_WIDTH);
        int tokens = row.path(isPadded ? REWARDS : IDS).size();
        Reader reader = new Reader(row, file + ":" + (samples.size() + 1));
        samples.add(
            new Experience(
                row.path(INDEX).asInt(),
                ints(row.path(PROMPT_IDS)),
                ints(row.path(IDS)),
                Floats.narrow(reader.numbers(LOG_PROBS, tokens)),
                Floats.narrow(reader.numbers(REFERENCE_LOG_PROBS, tokens)),
                Floats.narrow(reader.numbers(VALUES, tokens)),
                reader.numbers(REWARDS, tokens),
                isPadded ? new double[0] : reader.numbers(ADVANTAGES, tokens),
                isPadded ? new double[0] : reader.numbers(RETURNS, tokens),
                isPadded
                    ? new Experience.Padded(
                        row.path(PROMPT_WIDTH).asInt(), row.path(RESPONSE_WIDTH).asInt())
                    : null));
      }
    } catch (IOException e) {
      throw RlhfException.input(file + ": cannot be read: " + e.getMessage(), e);
    }
    return samples;
  }

  private record Reader(JsonNode row, String place) {
    double[] numbers(String name, int count) {
      JsonNode list = row.path(name);
      double[] numbers = new double[list.size()];
      for (int i = 0; i < numbers.length; i++) {
        numbers[i] = list.path(i).asDouble(Double.NaN);
      }
      if (numbers.length == 0 || numbers.length != count) {
        throw RlhfException.input(
            "%s: %d numbers in %s for %d token_ids".formatted(place, numbers.length, name, count));
      }
      return numbers;
    }
  }

  private static int[] ints(JsonNode list) {
    int[] ints = new int[list.size()];
    for (int i = 0; i < ints.length; i++) {
      ints[i] = list.path(i).asInt();
    }
    return ints;
  }
}
