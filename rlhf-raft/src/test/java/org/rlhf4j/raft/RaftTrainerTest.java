package org.rlhf4j.raft;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Provenance;
import org.rlhf4j.core.testing.SameRuns;
import org.rlhf4j.core.testing.TestTokenizers;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;

class RaftTrainerTest {
  private static final JsonMapper JSON = new JsonMapper();

  /** Share of the tokens below 64, which a model that knows nothing draws a quarter of. */
  private static final RewardFunction SMALL_IDS =
      completions ->
          completions.stream()
              .mapToDouble(c -> Arrays.stream(c.ids()).filter(id -> id < 64).count() / 8.0)
              .toArray();

  @TempDir Path temporary;
  private Path model;
  private Path prompts;
  private Path held;

  @BeforeEach
  void files() throws IOException {
    model = TinyModel.causalLm(temporary.resolve("model"), 1);
    prompts = temporary.resolve("prompts.jsonl");
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < 7; i++) {
      rows.add("{\"prompt\": \"Tell me %s\"}".formatted("more ".repeat(i % 3)));
    }
    Files.write(prompts, rows);
    held = Files.write(temporary.resolve("held.jsonl"), rows.subList(0, 5));
  }

  private ConfigBuilder<RaftConfig> builder(String output) {
    return Config.of(RaftConfig.class)
        .set("model_name_or_path", model.toString())
        .set("dataset_path", prompts.toString())
        .set("output_dir", temporary.resolve(output).toString())
        .set("dtype", "fp32")
        .set("learning_rate", 1e-2)
        .set("max_length", 64)
        .set("max_new_tokens", 8)
        .set("num_raft_iterations", 3)
        .set("prompts_per_iteration", 5)
        .set("samples_per_prompt", 4)
        .set("keep_fraction", 0.25)
        .set("generation_batch_size", 8)
        .set("per_device_train_batch_size", 2)
        .set("epochs_per_iteration", 1)
        .set("logging_steps", 1);
  }

  private static RunContext context(StopSignal stop, Consumer<Map<String, Object>> listener) {
    return new RunContext(Console.silent(), stop, listener::accept, List.of());
  }

  private static List<Map<String, Object>> train(
      ConfigBuilder<RaftConfig> builder, RewardFunction reward) {
    return new RaftTrainer(builder.build(), RunContext.silent(), reward).train();
  }

  private static List<Double> column(List<Map<String, Object>> rows, String name) {
    return rows.stream()
        .filter(row -> row.containsKey(name))
        .map(row -> ((Number) row.get(name)).doubleValue())
        .toList();
  }

  private static List<JsonNode> lines(Path file) throws IOException {
    List<JsonNode> rows = new ArrayList<>();
    for (String line : Files.readAllLines(file)) {
      rows.add(JSON.readTree(line));
    }
    return rows;
  }

  @Test
  void aRewardOfOnesOwnRises() {
    List<Map<String, Object>> metrics =
        train(
            builder("out")
                .set("eval_dataset_path", held.toString())
                .set("num_raft_iterations", 6)
                .set("samples_per_prompt", 16)
                .set("keep_fraction", 0.125)
                .set("epochs_per_iteration", 3),
            SMALL_IDS);
    List<Double> all = column(metrics, "reward/all_mean");
    List<Double> heldOut = column(metrics, "eval_reward/all_mean");
    List<Double> distances = column(metrics, "kl/to_start");
    assertEquals(6, all.size());
    assertEquals(7, heldOut.size());
    assertTrue(all.get(5) > all.get(0) + 0.3, all.toString());
    assertTrue(heldOut.get(6) > heldOut.get(0) + 0.3, heldOut.toString());
    // The first samples are the start model's own.
    assertEquals(0, distances.get(0));
    assertEquals(0, column(metrics, "eval_kl/to_start").get(0));
    assertTrue(distances.get(5) > 1, distances.toString());
  }

  @Test
  void keysWithoutEffectAreNamed() {
    List<String> warnings = new ArrayList<>();
    builder("out")
        .onWarning(warnings::add)
        .set("eval_dataset_path", held.toString())
        .set("eval_strategy", "steps")
        .set("eval_steps", 7)
        .set("do_sample", false)
        .set("samples_per_prompt", 1)
        .build();
    assertEquals(
        List.of(
            "eval_strategy has no effect but to switch evaluation on: held-out prompts are answered"
                + " every iteration",
            "eval_steps has no effect here: held-out prompts are answered every iteration"),
        warnings);
    warnings.clear();
    builder("out")
        .set("do_sample", false)
        .set("samples_per_prompt", 1)
        .set("top_k", 5)
        .onWarning(warnings::add)
        .build();
    assertEquals(List.of("top_k has no effect unless do_sample is true"), warnings);
  }

  @Test
  void bothDataSetsAreReported() throws IOException {
    Files.writeString(prompts, "{\"prompt\": 3}\n", StandardOpenOption.APPEND);
    // More than the 64 - 8 tokens that leave room for a response.
    String tooLong = "{\"prompt\": \"%s\"}\n".formatted("many words ".repeat(40));
    Files.writeString(held, tooLong, StandardOpenOption.APPEND);
    ByteArrayOutputStream shown = new ByteArrayOutputStream();
    Console console = Console.plain(new PrintStream(shown, true, UTF_8), 160);
    List<Map<String, Object>> metrics =
        new RaftTrainer(
                builder("out")
                    .set("eval_dataset_path", held.toString())
                    .set("max_bad_rows", 1)
                    .set("num_raft_iterations", 1)
                    .build(),
                new RunContext(console, new StopSignal(), row -> {}, List.of()),
                SMALL_IDS)
            .train();
    String text = shown.toString(UTF_8);
    assertTrue(text.contains("prompts data 8 rows read, 7 kept, 1 dropped (1 bad row)"), text);
    assertTrue(text.contains("eval data    6 rows read, 5 kept, 1 dropped"), text);
    assertTrue(
        text.contains("prompts data: 1 unusable rows are left out: " + prompts + ":8: "), text);
    Map<String, Object> first =
        metrics.stream().filter(row -> row.containsKey("loss")).findFirst().orElseThrow();
    assertEquals(7L, first.get("data/kept"));
    assertEquals(1L, first.get("data/dropped"));
    assertEquals(0L, first.get("data/truncated"));
    assertEquals(0L, first.get("data/prefix_mismatch"));
  }

  @Test
  void anIterationsFilesAgreeWithItsFigures() throws IOException {
    List<Map<String, Object>> metrics =
        train(builder("out").set("num_raft_iterations", 2), SMALL_IDS);
    List<Map<String, Object>> iterations =
        metrics.stream().filter(row -> row.containsKey("iteration")).toList();
    assertEquals(2, iterations.size());
    Set<Integer> seen = new HashSet<>();
    for (int i = 0; i < 2; i++) {
      Map<String, Object> figures = iterations.get(i);
      Path folder = temporary.resolve("out/iterations/iteration-" + (i + 1));
      List<JsonNode> samples = lines(folder.resolve("samples.jsonl"));
      List<JsonNode> selected = lines(folder.resolve("selected.jsonl"));
      assertEquals(5, samples.size());
      assertEquals(5, selected.size());
      double sum = 0;
      double bestSum = 0;
      double selectedSum = 0;
      for (int p = 0; p < 5; p++) {
        JsonNode row = samples.get(p);
        seen.add(row.path("index").asInt());
        assertEquals(4, row.path("responses").size());
        int best = 0;
        for (int s = 0; s < 4; s++) {
          JsonNode one = row.path("responses").path(s);
          long small = 0;
          for (JsonNode id : one.path("token_ids")) {
            small += id.asInt() < 64 ? 1 : 0;
          }
          assertEquals(small / 8.0, one.path("score").asDouble());
          sum += small / 8.0;
          best =
              one.path("score").asDouble()
                      > row.path("responses").path(best).path("score").asDouble()
                  ? s
                  : best;
        }
        JsonNode kept = selected.get(p);
        JsonNode expected = row.path("responses").path(best);
        assertEquals(row.path("index"), kept.path("index"));
        assertEquals(best, kept.path("sample").asInt());
        assertEquals(expected.path("score"), kept.path("score"));
        assertEquals(expected.path("token_ids"), kept.path("token_ids"));
        assertEquals(expected.path("text"), kept.path("completion"));
        assertEquals(row.path("prompt"), kept.path("prompt"));
        bestSum += expected.path("score").asDouble();
        selectedSum += kept.path("score").asDouble();
      }
      assertEquals(sum / 20, (Double) figures.get("reward/all_mean"), 1e-12);
      assertEquals(bestSum / 5, (Double) figures.get("reward/best_of_k"), 1e-12);
      assertEquals(selectedSum / 5, (Double) figures.get("reward/selected_mean"), 1e-12);
      assertEquals(20L, ((Number) figures.get("selection/samples")).longValue());
      assertEquals(5L, ((Number) figures.get("selection/kept")).longValue());
      assertEquals(15L, ((Number) figures.get("selection/dropped")).longValue());
      assertEquals(3L * i, ((Number) figures.get("step")).longValue());
    }
    // Ten draws of seven prompts: all of them, and three again.
    assertEquals(7, seen.size());
    // Five rows in steps of two.
    assertEquals(
        List.of(1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
        metrics.stream()
            .filter(row -> row.containsKey("loss"))
            .map(row -> ((Number) row.get("step")).doubleValue())
            .toList());
    for (String file :
        List.of("model.safetensors", "curves.csv", "README.md", "samples/step-3.jsonl")) {
      assertTrue(Files.exists(temporary.resolve("out").resolve(file)), file);
    }
  }

  @Test
  void theDistanceIsThatOfAnotherComputation() throws IOException {
    // Trained on token ids, so that the distance depends on nothing but the two models.
    train(builder("out").set("num_raft_iterations", 2), SMALL_IDS);
    Path out = temporary.resolve("out");
    List<Map<String, Object>> metrics = SameRuns.metrics(out);
    double reported = column(metrics, "kl/to_start").get(1);
    assertTrue(reported > 0);
    // The responses were drawn at temperature 0.85; the distance is taken at temperature 1.
    double mean = 0;
    List<JsonNode> samples = lines(out.resolve("iterations/iteration-2/samples.jsonl"));
    try (Reference policy = new Reference(out.resolve("checkpoint-3"));
        Reference start = new Reference(model)) {
      for (JsonNode row : samples) {
        for (JsonNode one : row.path("responses")) {
          int[] prompt = IterationFiles.ids(row.path("prompt_token_ids"));
          int[] ids = IterationFiles.ids(one.path("token_ids"));
          mean += (policy.logProb(prompt, ids) - start.logProb(prompt, ids)) / 20;
        }
      }
    }
    assertEquals(reported, mean, 1e-4);
  }

  /** Where a run is interrupted: while it does this for the n-th time. */
  private enum Place {
    REWARD,
    METRICS
  }

  /** What ends a run at once, as a kill does. */
  private static final class Killed extends Error {
    private static final long serialVersionUID = 1L;
  }

  private void run(
      ConfigBuilder<RaftConfig> builder, Place place, int at, boolean killed, StopSignal stop) {
    int[] counts = new int[2];
    Runnable interrupt =
        () -> {
          if (killed) {
            throw new Killed();
          }
          stop.request(ExitCode.TERMINATED);
        };
    RewardFunction reward =
        completions -> {
          if (place == Place.REWARD && ++counts[0] == at) {
            interrupt.run();
          }
          return SMALL_IDS.rewards(completions);
        };
    Consumer<Map<String, Object>> listener =
        row -> {
          if (place == Place.METRICS && ++counts[1] == at) {
            interrupt.run();
          }
        };
    new RaftTrainer(builder.build(), context(stop, listener), reward).train();
  }

  private ConfigBuilder<RaftConfig> resumable(String output, String dtype) {
    return builder(output)
        .set("dtype", dtype)
        .set("eval_dataset_path", held.toString())
        .set("num_raft_iterations", 3)
        .set("save_steps", 2)
        .set("save_total_limit", 0)
        .set("resume_from_checkpoint", "auto");
  }

  @ParameterizedTest
  @CsvSource({"fp32,true", "fp32,false", "bf16,true", "bf16,false"})
  void aRunInterruptedAnywhereEndsAsIfItHadNotBeen(String dtype, boolean killed)
      throws IOException {
    train(resumable("whole", dtype), SMALL_IDS);
    Path whole = temporary.resolve("whole");
    int number = 0;
    // Rewards: held-out prompts take one call, an iteration's samples three. Metrics: held-out,
    // then of each iteration its samples, three steps and held-out.
    Map<Place, int[]> points =
        dtype.equals("bf16")
            ? Map.of(Place.REWARD, new int[] {3}, Place.METRICS, new int[] {4})
            : killed
                ? Map.of(Place.REWARD, new int[] {3, 7}, Place.METRICS, new int[] {1, 4, 6})
                : Map.of(Place.REWARD, new int[] {1, 3, 5}, Place.METRICS, new int[] {2, 5, 7, 16});
    for (Map.Entry<Place, int[]> point : points.entrySet()) {
      for (int at : point.getValue()) {
        String output = "broken" + number++;
        StopSignal stop = new StopSignal();
        if (killed) {
          assertThrows(
              Killed.class, () -> run(resumable(output, dtype), point.getKey(), at, true, stop));
        } else {
          run(resumable(output, dtype), point.getKey(), at, false, stop);
          assertTrue(stop.requested());
        }
        Path broken = temporary.resolve(output);
        assertFalse(Files.exists(broken.resolve("model.safetensors")), point + " at " + at);
        train(resumable(output, dtype), SMALL_IDS);
        String where = point.getKey() + " " + at;
        assertEquals(SameRuns.metrics(whole), SameRuns.metrics(broken), where);
        SameRuns.assertSame(whole, broken);
        for (int iteration = 1; iteration <= 3; iteration++) {
          for (String file : List.of("samples.jsonl", "selected.jsonl")) {
            SameRuns.assertSameFile(
                whole, broken, "iterations/iteration-" + iteration + "/" + file);
          }
        }
      }
    }
  }

  @Test
  void storedSamplesAreTakenFromTheirFileOnlyIfThePolicyDrewThem() throws IOException {
    train(resumable("whole", "fp32"), SMALL_IDS);
    Path whole = temporary.resolve("whole");
    // Killed after the samples of iteration 2 were drawn and scored, before its first checkpoint.
    assertThrows(
        Killed.class,
        () -> run(resumable("out", "fp32"), Place.METRICS, 7, true, new StopSignal()));
    Path samples = temporary.resolve("out/iterations/iteration-2/samples.jsonl");
    List<String> rows = Files.readAllLines(samples);
    // A sign that they are read: a text that the model never wrote.
    rows.set(0, rows.get(0).replaceFirst("\"text\":\"[^\"]*\"", "\"text\":\"a sign\""));
    Files.write(samples, rows);
    train(resumable("out", "fp32"), SMALL_IDS);
    assertTrue(Files.readString(samples).contains("a sign"));
    SameRuns.assertSame(whole, temporary.resolve("out"));

    // Drawn by another policy, cut short, and damaged: drawn again.
    assertThrows(
        Killed.class,
        () ->
            run(
                resumable("other", "fp32").set("learning_rate", 2e-2),
                Place.METRICS,
                7,
                true,
                new StopSignal()));
    List<String> others =
        Files.readAllLines(temporary.resolve("other/iterations/iteration-2/samples.jsonl"));
    List<Consumer<List<String>>> spoilt =
        List.of(
            lines -> lines.replaceAll(line -> others.get(lines.indexOf(line))),
            lines -> lines.remove(4),
            lines -> lines.set(4, lines.get(4).substring(0, 20)),
            lines -> lines.replaceAll(line -> line.replace("\"length\"", "\"nothing\"")),
            lines ->
                lines.replaceAll(
                    line -> line.replaceFirst("\"token_ids\":.[0-9]+", "\"token_ids\":[\"a\"")),
            lines ->
                lines.replaceAll(
                    line -> line.replaceFirst("\"log_probs\":.[^,]+,", "\"log_probs\":[")));
    for (int i = 0; i < spoilt.size(); i++) {
      String output = "spoilt" + i;
      assertThrows(
          Killed.class,
          () -> run(resumable(output, "fp32"), Place.METRICS, 7, true, new StopSignal()));
      Path file = temporary.resolve(output).resolve("iterations/iteration-2/samples.jsonl");
      List<String> changed = new ArrayList<>(rows);
      spoilt.get(i).accept(changed);
      Files.write(file, changed);
      train(resumable(output, "fp32"), SMALL_IDS);
      SameRuns.assertSameFile(
          whole, temporary.resolve(output), "iterations/iteration-2/samples.jsonl");
      SameRuns.assertSame(whole, temporary.resolve(output));
    }
  }

  @Test
  void anOlderCheckpointGoesOnInAnotherFolder() throws IOException {
    train(resumable("whole", "fp32"), SMALL_IDS);
    for (String checkpoint : List.of("checkpoint-2", "checkpoint-3", "checkpoint-8")) {
      train(
          resumable("from-" + checkpoint, "fp32")
              .set(
                  "resume_from_checkpoint",
                  temporary.resolve("whole").resolve(checkpoint).toString()),
          SMALL_IDS);
      SameRuns.assertSameFile(
          temporary.resolve("whole"), temporary.resolve("from-" + checkpoint), "model.safetensors");
    }
  }

  @Test
  void anEndedRunEndsAgain() throws IOException {
    train(resumable("whole", "fp32"), SMALL_IDS);
    byte[] weights = Files.readAllBytes(temporary.resolve("whole/model.safetensors"));
    List<Map<String, Object>> metrics = SameRuns.metrics(temporary.resolve("whole"));
    train(resumable("whole", "fp32"), SMALL_IDS);
    assertArrayEquals(weights, Files.readAllBytes(temporary.resolve("whole/model.safetensors")));
    assertEquals(metrics, SameRuns.metrics(temporary.resolve("whole")));
  }

  @Test
  void earlyStoppingWaitsForTheHeldOutReward() {
    // The reward depends on nothing that training could change.
    RewardFunction constant = completions -> new double[completions.size()];
    List<Map<String, Object>> metrics =
        train(
            builder("held")
                .set("eval_dataset_path", held.toString())
                .set("num_raft_iterations", 9)
                .set("early_stopping_patience", 2),
            constant);
    assertEquals(2, column(metrics, "reward/all_mean").size());
    // Without held-out prompts the first samples are the best so far.
    metrics =
        train(
            builder("own").set("num_raft_iterations", 9).set("early_stopping_patience", 2),
            constant);
    assertEquals(3, column(metrics, "reward/all_mean").size());
    assertTrue(Files.exists(temporary.resolve("own/model.safetensors")));
  }

  @Test
  void globalSelectionAndAPatternThatDiscards() throws IOException {
    train(
        builder("out")
            .set("num_raft_iterations", 1)
            .set("selection", "global")
            .set("keep_fraction", 0.2)
            .set("discard_pattern", "[a-m]"),
        SMALL_IDS);
    Path folder = temporary.resolve("out/iterations/iteration-1");
    List<Double> allowed = new ArrayList<>();
    for (JsonNode row : lines(folder.resolve("samples.jsonl"))) {
      for (JsonNode one : row.path("responses")) {
        if (!one.path("text").asText().matches("(?s).*[a-m].*")) {
          allowed.add(one.path("score").asDouble());
        }
      }
    }
    allowed.sort((a, b) -> Double.compare(b, a));
    List<Double> kept = new ArrayList<>();
    lines(folder.resolve("selected.jsonl")).forEach(row -> kept.add(row.path("score").asDouble()));
    assertEquals(allowed.subList(0, 4), kept);
    assertTrue(allowed.size() < 20);
  }

  @Test
  void anIterationOfWhichNothingIsKeptChangesNothing() throws IOException {
    List<Map<String, Object>> metrics =
        train(builder("out").set("discard_pattern", "(?s)\\A.*"), SMALL_IDS);
    assertEquals(3, column(metrics, "selection/discarded").size());
    assertEquals(List.of(20.0, 20.0, 20.0), column(metrics, "selection/discarded"));
    assertEquals(List.of(), column(metrics, "loss"));
    assertEquals(List.of(), column(metrics, "reward/selected_mean"));
    SameRuns.assertSameFile(model, temporary.resolve("out"), "model.safetensors");
  }

  @Test
  void maxStepsEndsWithinAnIteration() throws IOException {
    List<Map<String, Object>> metrics = train(builder("out").set("max_steps", 4), SMALL_IDS);
    assertEquals(4, column(metrics, "loss").size());
    assertEquals(2, column(metrics, "reward/all_mean").size());
    assertTrue(Files.exists(temporary.resolve("out/model.safetensors")));
  }

  @Test
  void aModelWithoutATokenizerReadsAndWritesIds() throws IOException {
    Files.delete(model.resolve("tokenizer.json"));
    Files.delete(model.resolve("tokenizer_config.json"));
    Files.write(prompts, List.of("{\"input_ids\": [256, 65]}", "{\"input_ids\": [256, 66, 67]}"));
    List<String> texts = new ArrayList<>();
    train(
        builder("out"),
        completions -> {
          completions.forEach(c -> texts.add(c.prompt() + c.text()));
          return SMALL_IDS.rewards(completions);
        });
    assertEquals(Set.of(""), Set.copyOf(texts));
    JsonNode row = lines(temporary.resolve("out/iterations/iteration-1/selected.jsonl")).get(0);
    int[] ids = IterationFiles.ids(row.path("input_ids"));
    int[] labels = IterationFiles.ids(row.path("labels"));
    assertEquals(256, ids[0]);
    assertEquals(-100, labels[0]);
    assertEquals(ids[ids.length - 1], labels[ids.length - 1]);
    refused(
        builder("pattern").set("discard_pattern", "#"),
        SMALL_IDS,
        ExitCode.CONFIG,
        "discard_pattern: needs texts, and the model folder has no tokenizer");
    Path reward = TinyModel.rewardModel(temporary.resolve("reward"), 3);
    refused(
        builder("texts").set("reward_model_name_or_path", reward.toString()),
        null,
        ExitCode.CONFIG,
        "reward_model_name_or_path: " + reward + " reads texts");
  }

  @Test
  void aRewardModelsFolderIsAReward() throws IOException {
    Path reward = TinyModel.rewardModel(temporary.resolve("reward"), 3);
    List<Map<String, Object>> metrics =
        new RaftTrainer(
                builder("out")
                    .set("reward_model_name_or_path", reward.toString())
                    .set("num_raft_iterations", 5)
                    .set("samples_per_prompt", 8)
                    .set("keep_fraction", 0.125)
                    .build(),
                RunContext.silent())
            .train();
    List<Double> all = column(metrics, "reward/all_mean");
    assertTrue(all.get(4) > all.get(0), all.toString());
    refused(
        builder("language").set("reward_model_name_or_path", model.toString()),
        null,
        ExitCode.INPUT,
        "expected a reward model (LlamaForSequenceClassification), found a language model");
  }

  private void refused(
      ConfigBuilder<RaftConfig> builder, RewardFunction reward, ExitCode code, String message) {
    RaftConfig config = builder.build();
    RlhfException found =
        assertThrows(
            RlhfException.class,
            () ->
                (reward == null
                        ? new RaftTrainer(config, RunContext.silent())
                        : new RaftTrainer(config, RunContext.silent(), reward))
                    .train());
    assertEquals(code, found.exitCode());
    assertTrue(found.getMessage().contains(message), found.getMessage());
    assertFalse(
        Files.exists(config.training().outputDir().resolve("model.safetensors")),
        "nothing is left that looks like a result");
  }

  @Test
  void badRewardsAreOneClearLine() {
    refused(
        builder("nan"),
        completions -> {
          double[] rewards = new double[completions.size()];
          rewards[5] = Double.NaN;
          return rewards;
        },
        ExitCode.NON_FINITE,
        ", response 1 is NaN");
    refused(
        builder("few"),
        completions -> new double[completions.size() - 1],
        ExitCode.INPUT,
        "the reward function gave 7 rewards for 8 responses; one for each is needed");
    refused(
        builder("none"),
        completions -> null,
        ExitCode.INPUT,
        "the reward function gave no rewards for 8 responses");
    refused(
        builder("throws"),
        completions -> {
          throw new IllegalStateException("the scoring service said no");
        },
        ExitCode.INPUT,
        "the reward function failed on 8 responses, the first of them prompt ");
    refused(builder("nothing"), null, ExitCode.CONFIG, "reward_model_name_or_path: is required");
    refused(
        builder("both").set("reward_model_name_or_path", model.toString()),
        SMALL_IDS,
        ExitCode.CONFIG,
        "is not used where Java code gives a reward function");
  }

  @Test
  void promptsWithoutRoomForAResponseAreDroppedAndCounted() throws IOException {
    List<String> rows = new ArrayList<>(Files.readAllLines(prompts));
    rows.add(2, "{\"prompt\": \"%s\"}".formatted("x".repeat(60)));
    Files.write(prompts, rows);
    train(builder("out").set("prompts_per_iteration", 100), SMALL_IDS);
    Map<Integer, Integer> lengths = new HashMap<>();
    for (JsonNode row : lines(temporary.resolve("out/iterations/iteration-1/samples.jsonl"))) {
      lengths.put(row.path("index").asInt(), row.path("prompt_token_ids").size());
    }
    assertEquals(Set.of(0, 1, 3, 4, 5, 6, 7), lengths.keySet());
    refused(
        builder("error").set("overlong", "error"), SMALL_IDS, ExitCode.INPUT, "prompts.jsonl:3");
    RlhfException cut =
        assertThrows(RlhfException.class, () -> builder("cut").set("overlong", "truncate").build());
    assertTrue(cut.getMessage().contains("prompts are never cut"), cut.getMessage());
  }

  @ParameterizedTest
  @ValueSource(strings = {"seed", "samples_per_prompt", "epochs_per_iteration"})
  void anotherSettingCannotGoOn(String key) {
    train(resumable("out", "fp32").set("num_raft_iterations", 1), SMALL_IDS);
    RlhfException refused =
        assertThrows(
            RlhfException.class,
            () ->
                train(
                    resumable("out", "fp32").set("num_raft_iterations", 1).set(key, 7), SMALL_IDS));
    assertEquals(ExitCode.CONFIG, refused.exitCode());
    assertTrue(refused.getMessage().contains(key + ": the run was started with"));
  }

  @Test
  void otherWeightsUnderTheSameNamesCannotGoOn() throws IOException {
    Path reward = TinyModel.rewardModel(temporary.resolve("reward"), 3);
    ConfigBuilder<RaftConfig> builder =
        resumable("out", "fp32")
            .set("num_raft_iterations", 1)
            .set("reward_model_name_or_path", reward.toString());
    new RaftTrainer(builder.build(), RunContext.silent()).train();
    Path metrics = temporary.resolve("out/metrics.jsonl");
    byte[] before = Files.readAllBytes(metrics);
    for (boolean start : new boolean[] {false, true}) {
      Path weights = (start ? model : reward).resolve("model.safetensors");
      byte[] bytes = Files.readAllBytes(weights);
      String then = Provenance.sha256(weights);
      byte[] changed = bytes.clone();
      changed[bytes.length - 1] ^= 1;
      Files.write(weights, changed);
      RlhfException refused =
          assertThrows(
              RlhfException.class,
              () -> new RaftTrainer(builder.build(), RunContext.silent()).train());
      assertEquals(ExitCode.CONFIG, refused.exitCode());
      String message = refused.getMessage();
      String key = (start ? "" : "reward_") + "model_name_or_path: ";
      assertTrue(message.startsWith(key), message);
      assertTrue(message.contains(then + " then, " + Provenance.sha256(weights) + " now"), message);
      Files.write(weights, bytes);
    }
    assertArrayEquals(before, Files.readAllBytes(metrics));
    new RaftTrainer(builder.build(), RunContext.silent()).train();
  }

  @Test
  void rowsWithoutATargetAreNamed() throws IOException {
    Path file =
        Files.writeString(
            temporary.resolve("rows.jsonl"), "{\"input_ids\":[1,2],\"labels\":[-100,-100]}\n");
    RlhfException refused = assertThrows(RlhfException.class, () -> IterationFiles.readRows(file));
    assertTrue(refused.getMessage().startsWith(file + ":1: "), refused.getMessage());
  }

  @Test
  void theEndTokenIsTrainedOnWhereItWasSampledAndNowhereElse() throws IOException {
    train(builder("out").set("num_raft_iterations", 1).set("temperature", 5), SMALL_IDS);
    for (JsonNode row : lines(temporary.resolve("out/iterations/iteration-1/samples.jsonl"))) {
      for (JsonNode one : row.path("responses")) {
        int[] ids = IterationFiles.ids(one.path("token_ids"));
        boolean ended = one.path("finish_reason").asText().equals("eos");
        assertEquals(ended, ids[ids.length - 1] == TestTokenizers.EOS);
      }
    }
  }

  /** Ends after two of its iterations of three steps, between two rows of training metrics. */
  private ConfigBuilder<RaftConfig> stuck(String output) {
    return builder(output)
        .set("early_stopping_patience", 1)
        .set("num_raft_iterations", 9)
        .set("resume_from_checkpoint", "auto");
  }

  @Test
  void theLastStepsBeforeAnEarlyStopAreInTheMetrics() throws IOException {
    RewardFunction flat = completions -> new double[completions.size()];
    List<Double> losses = column(train(stuck("every"), flat), "loss");
    assertEquals(6, losses.size());
    List<Map<String, Object>> metrics = train(stuck("four").set("logging_steps", 4), flat);
    List<Double> means = column(metrics, "loss");
    assertEquals(2, means.size());
    assertEquals(losses.subList(0, 4).stream().mapToDouble(d -> d).sum() / 4, means.get(0), 1e-12);
    assertEquals((losses.get(4) + losses.get(5)) / 2, means.get(1), 1e-12);
    Map<String, Object> last = metrics.get(metrics.size() - 1);
    assertEquals(6L, last.get("step"));
    for (String name : List.of("epoch", "grad_norm", "learning_rate")) {
      List<Double> all = column(SameRuns.metrics(temporary.resolve("every")), name);
      assertEquals(all.get(all.size() - 1), ((Number) last.get(name)).doubleValue(), name);
    }

    // Killed while the last row is written, after the last checkpoint: written again.
    Consumer<Map<String, Object>> killer =
        row -> {
          if (row.containsKey("loss") && row.get("step").equals(6L)) {
            throw new Killed();
          }
        };
    RaftConfig killed = stuck("killed").set("logging_steps", 4).build();
    assertThrows(
        Killed.class,
        () -> new RaftTrainer(killed, context(new StopSignal(), killer), flat).train());
    train(stuck("killed").set("logging_steps", 4), flat);
    SameRuns.assertSame(temporary.resolve("four"), temporary.resolve("killed"));
  }

  @Test
  void aStopWhileRowsAreReadLeavesNothing() throws IOException {
    StopSignal stop = new StopSignal();
    stop.request(ExitCode.TERMINATED);
    RaftTrainer trainer =
        new RaftTrainer(builder("out").build(), context(stop, row -> {}), SMALL_IDS);
    assertEquals(List.of(), trainer.train());
    try (var files = Files.list(temporary.resolve("out"))) {
      assertEquals(List.of(), files.toList());
    }
  }
}
