package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.testing.TestTokenizers;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.group.GroupRuns;

/** Whole runs that follow trlX. */
class TrlxRunTest {
  private static final String EMBEDDING = "model.embed_tokens.weight";

  @TempDir Path temporary;
  private Path model;
  private Path prompts;

  @BeforeEach
  void files() throws IOException {
    model = TinyModel.causalLm(temporary.resolve("model"), 1);
    prompts =
        Files.write(
            temporary.resolve("prompts.jsonl"),
            List.of(
                "{\"prompt\": \"One\"}",
                "{\"prompt\": \"Two or\"}",
                "{\"prompt\": \"T\"}",
                "{\"prompt\": \"Four\"}"));
  }

  private ConfigBuilder<PpoConfig> builder(String version) {
    return Config.of(PpoConfig.class)
        .set("model_name_or_path", model.toString())
        .set("dataset_path", prompts.toString())
        .set("output_dir", temporary.resolve("run").toString())
        .set("learning_rate", 1e-3)
        .set("max_length", 32)
        .set("max_new_tokens", 4)
        .set("rollout_batch_size", 4)
        .set("mini_batch_size", 2)
        .set("num_ppo_epochs", 3)
        .set("total_episodes", 8)
        .set("num_layers_unfrozen", 1)
        .set("kl_coef", 0.1)
        .set("adaptive_kl_target", 1e-6)
        .set("adaptive_kl_horizon", 20)
        .set("logging_steps", 1)
        .set("trlx_compat", version);
  }

  /**
   * The untrained policy is its reference, so the first roll-out has no KL. Each call of the
   * controller then multiplies by 1 - 0.2 · 2 / 20: once for each of three epochs, or once behind
   * each of two mini-batches.
   */
  @ParameterizedTest
  @CsvSource({"head, 3, false", "v0.6.0, 2, true"})
  void controllerAndEmbedding(String version, int calls, boolean trainsEmbedding) {
    List<Map<String, Object>> rows =
        new PpoTrainer(builder(version).build(), RunContext.silent(), PpoTrainerTest.SMALL_IDS)
            .train();
    double[] coefficients =
        rows.stream()
            .filter(row -> row.containsKey(MetricNames.OBJECTIVE_KL_COEF))
            .mapToDouble(row -> ((Number) row.get(MetricNames.OBJECTIVE_KL_COEF)).doubleValue())
            .toArray();
    assertEquals(2, coefficients.length);
    assertEquals(0.1, coefficients[0], 1e-12);
    assertEquals(0.1 * Math.pow(0.98, calls), coefficients[1], 1e-12);

    float[] before = SafetensorsFile.open(model.resolve("model.safetensors")).readFloats(EMBEDDING);
    float[] after =
        SafetensorsFile.open(temporary.resolve("run/model.safetensors")).readFloats(EMBEDDING);
    assertEquals(trainsEmbedding, !Arrays.equals(before, after));
    // The reference stands on the embedding.
    boolean saysDrift = rows.stream().anyMatch(row -> row.containsKey(MetricNames.REFERENCE_DRIFT));
    assertEquals(!trainsEmbedding, saysDrift);
  }

  /** Where padding is counted as positions, samples of other chunks are padded otherwise. */
  @ParameterizedTest
  @CsvSource({"head, 4", "head, 1", "v0.6.0, 4", "v0.5.0, 4"})
  void theFirstRatioIsOne(String version, int chunk) {
    ConfigBuilder<PpoConfig> builder =
        builder(version).set("dtype", "fp32").set("generation_batch_size", chunk);
    List<Map<String, Object>> rows =
        new PpoTrainer(builder.build(), RunContext.silent(), PpoTrainerTest.SMALL_IDS).train();
    double[] ratios =
        rows.stream()
            .filter(row -> row.containsKey(MetricNames.RATIO))
            .mapToDouble(row -> ((Number) row.get(MetricNames.RATIO)).doubleValue())
            .toArray();
    // Two roll-outs of two mini-batches, three times each.
    assertEquals(12, ratios.length);
    assertEquals(1, ratios[0], 1e-5);
    assertEquals(1, ratios[6], 1e-5);
    assertNotEquals(1, ratios[5], 1e-5);
    // trlX's approx_kl is this estimate, not TRL's of the same name.
    List<Double> toOld = GroupRuns.column(rows, "policy/kl_to_old_avg");
    assertEquals(0, toOld.get(6), 1e-9);
    assertTrue(toOld.get(5) > 1e-6, toOld.toString());
    assertEquals(List.of(), GroupRuns.column(rows, "policy/approxkl_avg"));
  }

  @Test
  void eachVersionIsAnotherRun() {
    double[] losses = new double[2];
    String[] versions = {"head", "v0.5.0"};
    for (int i = 0; i < 2; i++) {
      ConfigBuilder<PpoConfig> builder = builder(versions[i]).set("output_dir", out(i));
      List<Map<String, Object>> rows =
          new PpoTrainer(builder.build(), RunContext.silent(), PpoTrainerTest.SMALL_IDS).train();
      losses[i] =
          rows.stream()
              .filter(row -> row.containsKey(MetricNames.VALUE_LOSS))
              .mapToDouble(row -> ((Number) row.get(MetricNames.VALUE_LOSS)).doubleValue())
              .sum();
    }
    assertNotEquals(losses[0], losses[1], 1e-6);
  }

  private String out(int number) {
    return temporary.resolve("run" + number).toString();
  }

  @ParameterizedTest
  @CsvSource({
    "kl_estimator, k3",
    "whiten_rewards, true",
    "whiten_advantages, false",
    "dual_clip, 3",
    "entropy_coef, 0.1",
    "target_kl, 0.1",
    "missing_eos_penalty, 1",
    "length_penalty, 0.1",
    "share_trunk, false",
    "value_network, separate",
    "num_value_layers_unfrozen, 1",
  })
  void whatTrlxDoesNotHaveIsRefused(String key, String value) {
    ConfigBuilder<PpoConfig> builder = builder("v0.6.0").set(key, value);
    RlhfException refused = assertThrows(RlhfException.class, builder::build);
    assertTrue(refused.getMessage().contains(key), refused.getMessage());
    assertTrue(refused.getMessage().contains("trlx_compat v0.6.0"), refused.getMessage());
  }

  /** A reward model would read the end token's spelling as ordinary characters. */
  @Test
  void theRewardSeesNoSpellingOfTheEnd() {
    List<Completion> ended = new ArrayList<>();
    RewardFunction reward =
        completions -> {
          for (Completion completion : completions) {
            assertFalse(completion.text().contains("</s>"), completion.text());
            int[] ids = completion.ids();
            if (ids.length > 0 && ids[ids.length - 1] == TestTokenizers.EOS) {
              ended.add(completion);
            }
          }
          return PpoTrainerTest.SMALL_IDS.rewards(completions);
        };
    // Half of the bytes are no text by themselves.
    ConfigBuilder<PpoConfig> builder = builder("head").set("stop", List.of("\uFFFD"));
    new PpoTrainer(builder.build(), RunContext.silent(), reward).train();
    assertTrue(ended.size() > 4, ended.toString());
  }

  @Test
  void samplesAreKeptAsTheyAre() throws IOException {
    double[] positions = {.1, .25, -3};
    TrlxSample sample =
        new TrlxSample(
            new int[] {5, 6}, 4, new int[] {7}, 6, positions, positions, positions, positions);
    Path file = temporary.resolve("rollout.jsonl");
    ExperienceFile.write(file, List.of(sample.kept(3)));
    Experience read = ExperienceFile.read(file).get(0);
    assertEquals(3, read.index());
    TrlxSample again = TrlxSample.of(read);
    assertArrayEquals(sample.prompt(), again.prompt());
    assertArrayEquals(sample.response(), again.response());
    assertEquals(4, again.promptWidth());
    assertEquals(6, again.responseWidth());
    assertArrayEquals(positions, again.rewards());
    assertEquals((float) .1, (float) again.values()[0]);
    assertEquals(-3, again.logProbs()[2]);
    assertEquals(.25, again.referenceLogProbs()[1]);
  }
}
