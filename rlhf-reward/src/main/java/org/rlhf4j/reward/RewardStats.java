package org.rlhf4j.reward;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;

/**
 * {@code reward_stats.json}: how a reward model's scores are spread, for those who want them
 * centred or scaled.
 *
 * @param mean of the scores of both sides of the evaluation pairs, at the latest evaluation
 * @param std their standard deviation, with the divisor {@code count - 1}
 * @param count the number of scores, two for each pair
 */
public record RewardStats(double mean, double std, long count) {
  /** The file's name beside the model. */
  public static final String FILE_NAME = "reward_stats.json";

  private static final JsonMapper JSON = new JsonMapper();

  /** Of at least two scores. */
  public static RewardStats of(double[] scores) {
    double sum = 0;
    for (double score : scores) {
      sum += score;
    }
    double mean = sum / scores.length;
    double squares = 0;
    for (double score : scores) {
      squares += (score - mean) * (score - mean);
    }
    return new RewardStats(mean, Math.sqrt(squares / (scores.length - 1)), scores.length);
  }

  /** Writes the file into a model's folder. */
  public void write(Path folder) {
    try {
      byte[] text = JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(this);
      AtomicFiles.write(folder.resolve(FILE_NAME), text);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a record of numbers can be written", e);
    }
  }

  /** Whether a model's folder has the file. */
  public static boolean existsIn(Path folder) {
    return Files.exists(folder.resolve(FILE_NAME));
  }

  /** Reads the file of a model's folder. */
  public static RewardStats read(Path folder) {
    Path file = folder.resolve(FILE_NAME);
    try {
      return JSON.readValue(file.toFile(), RewardStats.class);
    } catch (IOException e) {
      throw RlhfException.input(file + " cannot be read: " + e.getMessage(), e);
    }
  }
}
