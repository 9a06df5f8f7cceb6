package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.rlhf4j.ppo.group.GroupRuns.column;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.group.GroupRuns;

/**
 * Two roll-outs of two chunks each as a run makes them, against the order that trlX goes by: scores
 * are clipped and scaled chunk by chunk, the penalty is of the policy that drew, the score stands
 * behind the response.
 */
class TrlxRolloutsTest {
  private static final int CHUNK = 4;
  private static final double CLIP = 0.7;
  private static final double COEFFICIENT = 0.3;

  @TempDir Path temporary;
  private final List<Completion> completions = new ArrayList<>();
  private final List<Double> raw = new ArrayList<>();

  private double[] reward(List<Completion> chunk) {
    double[] scores =
        chunk.stream().mapToDouble(each -> 6 * GroupRuns.smallIds(each.ids()) - 1).toArray();
    assertEquals(CHUNK, chunk.size());
    completions.addAll(chunk);
    Arrays.stream(scores).forEach(raw::add);
    return scores;
  }

  @ParameterizedTest
  @CsvSource({"head, true", "v0.6.0, false"})
  void chunksFollowEachOther(String version, boolean clipsFirst) throws IOException {
    PpoRuns runs = new PpoRuns(temporary);
    PpoConfig config =
        runs.builder(
                "out",
                "trlx_compat",
                version,
                "generation_batch_size",
                CHUNK,
                "mini_batch_size",
                8,
                "per_device_train_batch_size",
                8,
                "shuffle_dataset",
                false,
                "scale_reward",
                "running",
                "cliprange_reward",
                CLIP,
                "kl_coef",
                COEFFICIENT,
                "save_steps",
                1,
                "save_total_limit",
                0)
            .build();
    List<Map<String, Object>> metrics =
        new PpoTrainer(config, RunContext.silent(), this::reward).train();
    assertEquals(16, raw.size());
    double[] scores = scaled(clipsFirst);
    Path output = runs.output("out");
    SlowLlama start = SlowLlama.read(runs.model());
    // The second roll-out's own policy, and what is kept of it after its first step.
    SlowLlama policy = SlowLlama.read(output.resolve("checkpoint-2"));
    List<Experience> samples = ExperienceFile.read(output.resolve("checkpoint-3/rollout.jsonl"));
    assertEquals(8, samples.size());
    double sum = 0;
    for (int i = 0; i < 8; i++) {
      TrlxSample sample = TrlxSample.of(samples.get(i));
      assertEquals(-1, Arrays.mismatch(completions.get(8 + i).promptIds(), sample.prompt()));
      if (version.equals("head")) {
        assertLogProbs(policy, samples.get(i), sample.logProbs());
        assertLogProbs(start, samples.get(i), sample.referenceLogProbs());
      }
      int kept = sample.rewards().length;
      assertEquals(Math.min(sample.response().length + 2, sample.responseWidth()), kept);
      for (int t = 0; t < kept; t++) {
        // Where padding predicts, there is no penalty.
        boolean isBlind = t == sample.response().length + 1;
        double d = sample.logProbs()[t] - sample.referenceLogProbs()[t];
        double expected = (isBlind ? 0 : -COEFFICIENT * d) + (t == kept - 1 ? scores[8 + i] : 0);
        assertEquals(expected, sample.rewards()[t], 1e-5, "sample " + i + " at " + t);
        sum += sample.rewards()[t];
      }
    }
    assertEquals(sum / 8, column(metrics, "objective/rlhf_reward").get(1), 1e-5);
    assertTrue(Math.abs(column(metrics, "objective/kl").get(1)) > 1e-3);
  }

  /** TrlX's running moments over chunks; HEAD clips before, older versions behind. */
  private double[] scaled(boolean clipsFirst) {
    double mean = 0;
    double variance = 1;
    double count = 1e-24;
    double[] scaled = new double[raw.size()];
    boolean isClipped = false;
    for (int from = 0; from < scaled.length; from += CHUNK) {
      double[] chunk = new double[CHUNK];
      for (int i = 0; i < CHUNK; i++) {
        double score = raw.get(from + i);
        isClipped |= Math.abs(score) > CLIP;
        chunk[i] = clipsFirst ? clipped(score) : score;
      }
      double own = Arrays.stream(chunk).average().orElseThrow();
      double squares = Arrays.stream(chunk).map(x -> (x - own) * (x - own)).sum();
      double total = count + CHUNK;
      double delta = own - mean;
      double all = variance * count + delta * delta * count * CHUNK / total + squares;
      mean += delta * CHUNK / total;
      variance = all / total;
      count = total;
      double deviation = Math.sqrt(variance * total / (total - 1));
      for (int i = 0; i < CHUNK; i++) {
        double score = chunk[i] / deviation;
        scaled[from + i] = clipsFirst ? score : clipped(score);
      }
    }
    assertTrue(isClipped, "the scores must show the clipping");
    return scaled;
  }

  private static double clipped(double score) {
    return Math.max(-CLIP, Math.min(CLIP, score));
  }

  private static void assertLogProbs(SlowLlama model, Experience sample, double[] found) {
    double[] expected = model.logProbs(sample.row(), 1);
    Numbers.assertClose(expected, Arrays.copyOf(found, expected.length), 1e-5);
  }
}
