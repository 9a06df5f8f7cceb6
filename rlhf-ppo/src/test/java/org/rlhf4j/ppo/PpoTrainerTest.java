package org.rlhf4j.ppo;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.nio.file.StandardOpenOption.APPEND;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.checkpoint.TensorInfo;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.testing.SameRuns;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.ppo.rollout.Floats;
import org.rlhf4j.ppo.rollout.TokenRewardFunction;

class PpoTrainerTest {
  /** Share of the tokens below 64, which a model that knows nothing draws a quarter of. */
  static final RewardFunction SMALL_IDS =
      completions -> completions.stream().mapToDouble(c -> smallIds(c.ids())).toArray();

  @TempDir Path temporary;
  private Path model;
  private Path prompts;
  private Path held;

  private static double smallIds(int[] ids) {
    return Arrays.stream(ids).filter(id -> id < 64).count() / (double) ids.length;
  }

  @BeforeEach
  void files() throws IOException {
    model = TinyModel.causalLm(temporary.resolve("model"), 1);
    prompts = temporary.resolve("prompts.jsonl");
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < 64; i++) {
      rows.add("{\"prompt\": \"Tell me %s\"}".formatted("more ".repeat(i % 3)));
    }
    Files.write(prompts, rows);
    held = Files.write(temporary.resolve("held.jsonl"), rows.subList(0, 16));
  }

  private ConfigBuilder<PpoConfig> builder(String output) {
    return Config.of(PpoConfig.class)
        .set("model_name_or_path", model.toString())
        .set("dataset_path", prompts.toString())
        .set("output_dir", temporary.resolve(output).toString())
        .set("dtype", "fp32")
        .set("learning_rate", 5e-3)
        .set("max_length", 64)
        .set("max_new_tokens", 4)
        .set("rollout_batch_size", 16)
        .set("mini_batch_size", 8)
        .set("per_device_train_batch_size", 8)
        .set("num_ppo_epochs", 2)
        .set("num_layers_unfrozen", 1)
        .set("total_episodes", 32)
        .set("logging_steps", 1);
  }

  private static List<Map<String, Object>> train(
      ConfigBuilder<PpoConfig> builder, RewardFunction reward) {
    return new PpoTrainer(builder.build(), RunContext.silent(), reward).train();
  }

  /** What a run shows on a console. */
  private static String shown(ConfigBuilder<PpoConfig> builder, RewardFunction reward) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    run(builder, reward, out);
    return out.toString(UTF_8);
  }

  private static void run(
      ConfigBuilder<PpoConfig> builder, RewardFunction reward, ByteArrayOutputStream out) {
    Console console = Console.plain(new PrintStream(out, true, UTF_8), 200);
    RunContext context = new RunContext(console, new StopSignal(), row -> {}, List.of());
    new PpoTrainer(builder.build(), context, reward).train();
  }

  private static List<Double> column(List<Map<String, Object>> rows, String name) {
    return rows.stream()
        .filter(row -> row.containsKey(name))
        .map(row -> ((Number) row.get(name)).doubleValue())
        .toList();
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3})
  void aRewardOfOnesOwnRises(long seed) {
    List<Map<String, Object>> metrics =
        train(
            builder("out")
                .set("eval_dataset_path", held.toString())
                .set("seed", seed)
                .set("num_layers_unfrozen", -1)
                .set("total_episodes", 64 * 12)
                .set("rollout_batch_size", 64)
                .set("mini_batch_size", 64)
                .set("per_device_train_batch_size", 64)
                .set("num_ppo_epochs", 4)
                .set("kl_coef", 0.01),
            SMALL_IDS);
    List<Double> scores = column(metrics, "objective/scores");
    List<Double> heldOut = column(metrics, "eval_objective/scores");
    List<Double> distances = column(metrics, "objective/kl");
    assertEquals(12, scores.size());
    assertTrue(scores.get(11) > scores.get(0) + 0.2, scores.toString());
    assertTrue(heldOut.get(heldOut.size() - 1) > heldOut.get(0) + 0.2, heldOut.toString());
    // The first samples are the reference's own.
    assertEquals(0, distances.get(0));
    assertTrue(distances.get(11) > 1, distances.toString());
    assertEquals(Set.of(0.0), new HashSet<>(column(metrics, "reference/drift")));
    assertEquals(List.of(64.0, 768.0), ends(column(metrics, "episode")));
  }

  private static List<Double> ends(List<Double> all) {
    return List.of(all.get(0), all.get(all.size() - 1));
  }

  @Test
  void aTrunkThatIsSharedStaysAsItWas() throws IOException {
    train(
        builder("out").set("value_network", "reference_branch").set("num_value_layers_unfrozen", 1),
        SMALL_IDS);
    ModelFolder start = ModelFolder.open(model);
    ModelFolder end = ModelFolder.open(temporary.resolve("out"));
    for (String name : start.tensorNames()) {
      boolean isTop = name.startsWith("model.layers.1.") || name.equals("model.norm.weight");
      assertEquals(!isTop, Arrays.equals(start.readFloats(name), end.readFloats(name)), name);
    }
    // The head was tied to the embedding, which is in the trunk.
    assertFalse(
        Arrays.equals(
            start.readFloats("model.embed_tokens.weight"), end.readFloats("lm_head.weight")));
    assertTrue(Files.exists(temporary.resolve("out/value_head.safetensors")));
  }

  @ParameterizedTest
  @CsvSource({"policy_head, 0", "reference_branch, 1", "separate, 0"})
  void withoutALearningRateNothingMoves(String network, int layers) throws IOException {
    List<Map<String, Object>> metrics =
        train(still("out", network, layers).set("per_device_train_batch_size", 2), SMALL_IDS);
    for (double ratio : column(metrics, "val/ratio")) {
      assertEquals(1, ratio, 1e-5);
    }
    assertEquals(8, column(metrics, "val/ratio").size());
    for (double kl : column(metrics, "objective/kl")) {
      assertEquals(0, kl);
    }
    for (double kl : column(metrics, "policy/approxkl_avg")) {
      assertEquals(0, kl, 1e-9);
    }
    ModelFolder start = ModelFolder.open(model);
    ModelFolder end = ModelFolder.open(temporary.resolve("out"));
    for (String name : start.tensorNames()) {
      assertArrayEquals(start.readFloats(name), end.readFloats(name), name);
    }
    train(still("one", network, layers).set("max_steps", 1), SMALL_IDS);
    SameRuns.assertSameFile(
        temporary.resolve("one"), temporary.resolve("out"), "value_head.safetensors");
  }

  private ConfigBuilder<PpoConfig> still(String output, String network, int layers) {
    return builder(output)
        .set("value_network", network)
        .set("num_value_layers_unfrozen", layers)
        .set("learning_rate", 0);
  }

  @ParameterizedTest
  @CsvSource({
    "per_device_train_batch_size, 2, policy_head, 0",
    "per_device_train_batch_size, 2, reference_branch, 1",
    "cache_trunk, false, policy_head, 0",
    "cache_trunk, false, reference_branch, 1",
    "threads, 2, policy_head, 0",
    "threads, 2, separate, 0"
  })
  void howAStepIsComputedChangesNothing(String key, String value, String network, int layers) {
    List<List<Map<String, Object>>> runs = new ArrayList<>();
    for (boolean other : new boolean[] {false, true}) {
      ConfigBuilder<PpoConfig> builder =
          builder("out" + other)
              .set("learning_rate", 1e-4)
              .set("value_network", network)
              .set("num_value_layers_unfrozen", layers)
              .set("entropy_coef", 0.01);
      if (other && key.equals("threads")) {
        runs.add(withThreads(Integer.parseInt(value), () -> train(builder, SMALL_IDS)));
      } else {
        runs.add(train(other ? builder.set(key, value) : builder, SMALL_IDS));
      }
    }
    for (String name :
        List.of("loss", "grad_norm", "loss/value_avg", "policy/entropy_avg", "val/ratio")) {
      List<Double> one = column(runs.get(0), name);
      List<Double> two = column(runs.get(1), name);
      assertEquals(8, one.size());
      for (int i = 0; i < one.size(); i++) {
        assertEquals(one.get(i), two.get(i), 1e-5 * Math.max(1, one.get(i)), name + " " + i);
      }
    }
  }

  /** A whole run, the weights behind it included. */
  @ParameterizedTest
  @CsvSource({
    "policy_head, 0, false",
    "policy_head, 0, true",
    "policy_head, 1, false",
    "reference_branch, 1, true"
  })
  void modelsApartLearnWhatASharedTrunkLearns(String network, int layers, boolean checkpointing)
      throws IOException {
    for (boolean shared : new boolean[] {true, false}) {
      ConfigBuilder<PpoConfig> builder =
          builder("shared-" + shared)
              .set("learning_rate", 1e-3)
              .set("share_trunk", shared)
              .set("value_network", network)
              .set("num_value_layers_unfrozen", layers)
              .set("activation_checkpointing", !shared && checkpointing)
              .set("entropy_coef", 0.01);
      assertEquals(!shared, shown(builder, SMALL_IDS).contains("policy, its frozen part"));
    }
    Path one = temporary.resolve("shared-true");
    Path other = temporary.resolve("shared-false");
    List<Map<String, Object>> expected = SameRuns.metrics(one);
    List<Map<String, Object>> found = SameRuns.metrics(other);
    assertEquals(10, expected.size());
    for (int i = 0; i < expected.size(); i++) {
      assertEquals(expected.get(i).keySet(), found.get(i).keySet());
      for (String name : expected.get(i).keySet()) {
        if (expected.get(i).get(name) instanceof Number number) {
          double is = ((Number) found.get(i).get(name)).doubleValue();
          double tolerance = 1e-5 * Math.max(1, Math.abs(number.doubleValue()));
          assertEquals(number.doubleValue(), is, tolerance, name + " of row " + i);
        }
      }
    }
    for (String file : List.of("model.safetensors", "value_head.safetensors")) {
      SafetensorsFile expectedFile = SafetensorsFile.open(one.resolve(file));
      SafetensorsFile foundFile = SafetensorsFile.open(other.resolve(file));
      for (TensorInfo tensor : expectedFile.tensors()) {
        String name = tensor.name();
        assertArrayEquals(expectedFile.readFloats(name), foundFile.readFloats(name), 1e-5f, name);
      }
    }
  }

  private static <T> T withThreads(int threads, Supplier<T> body) {
    try (Torch torch = Torch.open("cpu")) {
      int before = torch.threads();
      torch.setThreads(threads);
      try {
        return body.get();
      } finally {
        torch.setThreads(before);
      }
    }
  }

  @Test
  void rewardsOfTokensCountWhereTheyAre() throws IOException {
    TokenRewardFunction atTheEnd =
        completions ->
            completions.stream()
                .map(
                    completion -> {
                      double[] rewards = new double[completion.ids().length];
                      rewards[rewards.length - 1] = smallIds(completion.ids());
                      return rewards;
                    })
                .toArray(double[][]::new);
    TokenRewardFunction atOnce =
        completions ->
            completions.stream()
                .map(c -> Arrays.stream(c.ids()).mapToDouble(id -> id < 64 ? 0.25 : 0).toArray())
                .toArray(double[][]::new);
    String[] keys = {"scale_reward", "running"};
    ConfigBuilder<PpoConfig> whole =
        builder("whole").set(keys[0], keys[1]).set("length_penalty", 0.01);
    train(whole, SMALL_IDS);
    train(builder("end").set(keys[0], keys[1]).set("length_penalty", 0.01), atTheEnd);
    assertEquals(
        SameRuns.metrics(temporary.resolve("whole")), SameRuns.metrics(temporary.resolve("end")));
    train(builder("once").set(keys[0], keys[1]).set("length_penalty", 0.01), atOnce);
    double one = column(SameRuns.metrics(temporary.resolve("whole")), "loss").get(0);
    double other = column(SameRuns.metrics(temporary.resolve("once")), "loss").get(0);
    assertTrue(Math.abs(one - other) > 1e-3);
  }

  @Test
  void aDeltaIsAgainstTheDataSetsOwnAnswer() throws IOException {
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < 16; i++) {
      rows.add(
          "{\"prompt\": \"Tell %d:\", \"chosen\": \" yes %d\", \"rejected\": \" no\"}"
              .formatted(i, i));
    }
    Files.write(prompts, rows);
    Set<String> answers = new HashSet<>();
    RewardFunction reward =
        completions ->
            completions.stream()
                .mapToDouble(
                    completion -> {
                      if (completion.text().startsWith(" yes ")) {
                        answers.add(completion.prompt() + completion.text());
                        return 10;
                      }
                      return 1;
                    })
                .toArray();
    List<Map<String, Object>> metrics =
        train(builder("out").set("total_episodes", 16).set("delta_reward", true), reward);
    assertEquals(List.of(-9.0), column(metrics, "objective/scores"));
    assertEquals(16, answers.size());
    assertTrue(answers.contains("Tell 3: yes 3"), answers.toString());
  }

  /** Rows whose last targets are a part of the prompt, and rows without any. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "{'prompt': 'Tell me'}",
        "{'input_ids': [256, 81, 58, 97]}",
        "{'input_ids': [256, 81, 58, 97], 'labels': [-100, -100, 58, 97]}",
        "{'messages': [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Yes'},"
            + " {'role': 'user', 'content': 'And'}]}"
      })
  void aDeltaNeedsAnAnswerBehindEachPrompt(String row) throws IOException {
    String answered =
        "{'messages': [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Yes'}]}";
    Files.write(prompts, Stream.of(answered, row).map(one -> one.replace('\'', '"')).toList());
    RlhfException refused =
        assertThrows(
            RlhfException.class,
            () -> train(builder("out").set("delta_reward", true).set("template", "hh"), SMALL_IDS));
    assertEquals(ExitCode.INPUT, refused.exitCode());
    assertTrue(
        refused
            .getMessage()
            .startsWith("delta_reward true: " + prompts + ":2 has no answer to its prompt"),
        refused.getMessage());
  }

  @Test
  void aDeltaOfPromptsAloneIsRefusedByItsKey() {
    RlhfException refused =
        assertThrows(
            RlhfException.class, () -> train(builder("out").set("delta_reward", true), SMALL_IDS));
    assertEquals(ExitCode.INPUT, refused.exitCode());
    assertTrue(
        refused.getMessage().startsWith("delta_reward true: no answer to a prompt: " + prompts),
        refused.getMessage());
  }

  @Test
  void epochsEndWhereThePolicyIsTooFar() {
    List<Map<String, Object>> metrics =
        train(
            builder("out").set("target_kl", 1e-3).set("num_ppo_epochs", 8).set("save_steps", 1),
            SMALL_IDS);
    List<Double> kls = column(metrics, "policy/kl_to_old_avg");
    assertTrue(kls.size() < 32 && kls.size() > 1, kls.toString());
    assertTrue(kls.stream().allMatch(kl -> kl <= 1.5e-3), kls.toString());
    // Each roll-out says it at its beginning, and where it ends early.
    assertEquals(List.of(0.0, 1.0, 1.0, 2.0), column(metrics, "policy/early_stops"));
    assertEquals(List.of(16.0, 16.0), column(metrics, "early_stop/planned_steps"));
    assertEquals(
        kls.size(),
        column(metrics, "early_stop/steps").stream().mapToDouble(Double::doubleValue).sum());
    assertTrue(column(metrics, "early_stop/kl").stream().allMatch(kl -> kl > 1.5e-3));
    assertTrue(Files.exists(temporary.resolve("out/model.safetensors")));
  }

  @Test
  void rollOutsThatEndEarlyAreEvaluatedAndSaved() {
    List<Map<String, Object>> metrics =
        train(
            builder("out")
                .set("target_kl", 1e-3)
                .set("num_ppo_epochs", 8)
                .set("total_episodes", 48)
                .set("eval_dataset_path", held.toString())
                .set("eval_strategy", "epoch")
                .set("save_strategy", "epoch")
                .set("save_total_limit", 0),
            SMALL_IDS);
    List<Double> lengths = column(metrics, "early_stop/steps");
    assertEquals(3, lengths.size(), lengths.toString());
    // At the start, and after each of them.
    assertEquals(4, column(metrics, "eval_objective/scores").size());
    int step = 0;
    for (double length : lengths) {
      step += (int) length;
      assertTrue(Files.exists(temporary.resolve("out/checkpoint-" + step)), "step " + step);
    }
  }

  @Test
  void samplesOfRollOutsAreWrittenWhereNothingIsEvaluated() throws IOException {
    train(
        builder("out").set("eval_dataset_path", held.toString()).set("eval_strategy", "no"),
        SMALL_IDS);
    try (Stream<Path> files = Files.list(temporary.resolve("out/samples"))) {
      assertEquals(2, files.count());
    }
  }

  @Test
  void temperatureIsTheSamplersAndTheScorers() {
    // A sampler with another temperature than the scorer ends the run.
    train(
        builder("out").set("temperature", 0.7).set("max_steps", 1).set("save_steps", 1), SMALL_IDS);
    SlowLlama start = SlowLlama.read(model);
    Path rollout = temporary.resolve("out/checkpoint-1/rollout.jsonl");
    for (Experience sample : ExperienceFile.read(rollout)) {
      double[] expected = start.logProbs(sample.row(), 0.7);
      Numbers.assertClose(expected, Floats.wide(sample.logProbs()), 1e-5);
      Numbers.assertClose(expected, Floats.wide(sample.referenceLogProbs()), 1e-5);
    }
  }

  @Test
  void eachKeyOfTheLossCounts() {
    String[][] keys = {
      {"cliprange", "0.001"},
      {"cliprange_value", "0.001"},
      {"dual_clip", "1.001"},
      {"vf_coef", "0.5"},
      {"entropy_coef", "0.1"},
      {"value_learning_rate", "1e-2"},
      {"gamma", "0.5"},
      {"kl_coef", "0.5"}
    };
    List<Double> before =
        column(
            train(builder("out").set("num_ppo_epochs", 4).set("learning_rate", 5e-2), SMALL_IDS),
            "grad_norm");
    for (String[] key : keys) {
      ConfigBuilder<PpoConfig> other =
          builder(key[0]).set("num_ppo_epochs", 4).set("learning_rate", 5e-2).set(key[0], key[1]);
      assertNotEquals(before, column(train(other, SMALL_IDS), "grad_norm"), key[0]);
    }
  }

  private static RlhfException refused(ConfigBuilder<PpoConfig> builder) {
    RlhfException refused = assertThrows(RlhfException.class, builder::build);
    assertEquals(ExitCode.CONFIG, refused.exitCode());
    return refused;
  }

  @Test
  void settingsThatCannotWorkAreRefused() {
    for (String[] one :
        new String[][] {
          {"target_kl", "0", "target_kl: found 0, allowed: a number > 0"},
          {"top_k", "5", "top_k 5: online training draws tokens"},
          {"top_p", "0.9", "top_p 0.9: online training draws tokens"},
          {"min_p", "0.1", "min_p 0.1: online training draws tokens"},
          {"repetition_penalty", "1.1", "repetition_penalty 1.1: online training draws tokens"},
          {"no_repeat_ngram_size", "3", "no_repeat_ngram_size 3: online training draws tokens"},
          {"min_new_tokens", "2", "min_new_tokens 2: online training draws tokens"},
          {"suppress_eos", "true", "suppress_eos true: online training draws tokens"},
          {"do_sample", "false", "do_sample false: online training draws tokens"},
          {"num_layers_unfrozen", "0", "num_layers_unfrozen: found 0"},
          {"num_value_layers_unfrozen", "2", "is more than num_layers_unfrozen 1"},
          {"mini_batch_size", "12", "is no multiple of per_device_train_batch_size 8"},
          {"mini_batch_size", "32", "is more than the samples of a roll-out"},
          {"gradient_accumulation_steps", "3", "from which 1 follow"},
          {"lora_dropout", "0.1", "allowed: 0"},
          {"max_new_tokens", "64", "leaves no room for a prompt in max_length 64"},
          {"overlong", "truncate", "prompts are never cut"},
          {"value_network", "reference_branch", "reference_branch needs at least 1"},
          {"value_model_name_or_path", model.toString(), "needs value_network separate"},
        }) {
      String message = refused(builder("out").set(one[0], one[1])).getMessage();
      assertTrue(message.contains(one[2]), message);
    }
  }

  @Test
  void modelsApartNeedAFrozenPartAndKeepNothing() {
    ConfigBuilder<PpoConfig> all =
        builder("out").set("num_layers_unfrozen", -1).set("share_trunk", false);
    String message = refused(all).getMessage();
    assertTrue(message.contains("share_trunk false: needs num_layers_unfrozen"), message);
    List<String> warnings = new ArrayList<>();
    ConfigBuilder<PpoConfig> apart = builder("out").set("share_trunk", false);
    PpoConfig config = apart.onWarning(warnings::add).build();
    assertEquals(List.of(), warnings);
    assertFalse(config.keepsTrunk());
    assertTrue(builder("out").build().keepsTrunk());
    apart.set("cache_trunk", false).build();
    assertEquals(List.of("cache_trunk has no effect with share_trunk false"), warnings);
  }

  @Test
  void moreLayersThanThereAreAreRefused() {
    ConfigBuilder<PpoConfig> builder = builder("out").set("num_layers_unfrozen", 3);
    RlhfException refused = assertThrows(RlhfException.class, () -> train(builder, SMALL_IDS));
    assertEquals(ExitCode.CONFIG, refused.exitCode());
    assertTrue(refused.getMessage().contains("num_layers_unfrozen"), refused.getMessage());
  }

  @Test
  void promptsWithoutRoomAreCountedOrRefused() throws IOException {
    List<String> rows = new ArrayList<>(Files.readAllLines(prompts));
    rows.set(5, "{\"prompt\": \"%s\"}".formatted("many words ".repeat(40)));
    Files.write(prompts, rows);
    List<Map<String, Object>> metrics = train(builder("out"), SMALL_IDS);
    assertEquals(List.of(63.0), column(metrics, "data/kept"));
    assertEquals(List.of(1.0), column(metrics, "data/dropped"));
    RlhfException refused =
        assertThrows(
            RlhfException.class, () -> train(builder("error").set("overlong", "error"), SMALL_IDS));
    assertEquals(ExitCode.INPUT, refused.exitCode());
    assertTrue(refused.getMessage().contains(prompts + ":6: the prompt has"), refused.getMessage());
  }

  /** Fails at one of its calls. */
  private static RewardFunction failing(int call, RewardFunction instead) {
    int[] calls = new int[1];
    return completions -> (++calls[0] == call ? instead : SMALL_IDS).rewards(completions);
  }

  /** What a reward function may do, and how the run must end then. */
  private record Failure(RewardFunction instead, ExitCode code, String message) {}

  private static final List<Failure> FAILURES =
      List.of(
          new Failure(
              completions -> completions.stream().mapToDouble(c -> Double.NaN).toArray(),
              ExitCode.NON_FINITE,
              "is NaN"),
          new Failure(
              completions -> new double[1], ExitCode.INPUT, "gave 1 rewards for 16 responses"),
          new Failure(completions -> null, ExitCode.INPUT, "gave no rewards for 16 responses"),
          new Failure(
              completions -> {
                throw new IllegalStateException("out of order");
              },
              ExitCode.INPUT,
              "the reward function failed on 16 responses, the first of them prompt "),
          new Failure(
              completions -> {
                throw new AssertionError("out of order");
              },
              ExitCode.INPUT,
              "the reward function failed on 16 responses, the first of them prompt "),
          new Failure(
              completions -> {
                try {
                  new CountDownLatch(1).await();
                } catch (InterruptedException e) {
                  Thread.currentThread().interrupt();
                }
                return new double[completions.size()];
              },
              ExitCode.ENVIRONMENT,
              "the reward function gave no answer within 0.2 s (reward_timeout_s) for 16 responses"));

  private ConfigBuilder<PpoConfig> saving(String output) {
    return builder(output)
        .set("total_episodes", 48)
        .set("save_steps", 500)
        .set("resume_from_checkpoint", "auto");
  }

  /** One call for each roll-out, and in the clean form two more at the start. */
  @ParameterizedTest
  @CsvSource({"none, 5, 6", "head, 3, 1"})
  void aRewardThatFailsLosesNothing(String trlx, int thirdRollout, int failures)
      throws IOException {
    train(saving("whole").set("trlx_compat", trlx), SMALL_IDS);
    for (int i = 0; i < failures; i++) {
      Failure failure = FAILURES.get(i);
      String output = "broken" + i;
      ConfigBuilder<PpoConfig> builder = saving(output).set("trlx_compat", trlx);
      int call = thirdRollout;
      if (failure.message().contains("within 0.2 s")) {
        // Nothing but what hangs is asked with so little patience: the first call of a resumed run.
        assertThrows(
            RlhfException.class,
            () -> train(builder, failing(thirdRollout, FAILURES.get(0).instead())));
        builder.set("reward_timeout_s", 0.2);
        call = 1;
      }
      RewardFunction reward = failing(call, failure.instead());
      RlhfException thrown = assertThrows(RlhfException.class, () -> train(builder, reward));
      builder.set("reward_timeout_s", 600);
      assertTrue(thrown.getMessage().contains(failure.message()), thrown.getMessage());
      assertEquals(failure.code(), thrown.exitCode());
      assertTrue(Files.exists(temporary.resolve(output).resolve("checkpoint-8")));
      train(builder, SMALL_IDS);
      SameRuns.assertSame(temporary.resolve("whole"), temporary.resolve(output));
    }
  }

  /** What is no fault of the function is thrown as it is. */
  @Test
  void anErrorOfTheVirtualMachineLosesNothing() throws IOException {
    RewardFunction reward =
        failing(
            5,
            completions -> {
              throw new OutOfMemoryError("not really");
            });
    assertThrows(OutOfMemoryError.class, () -> train(saving("out"), reward));
    assertTrue(Files.exists(temporary.resolve("out/checkpoint-8")));
  }

  /** The evaluation after the first roll-out: before it one at the start, and three rewards. */
  @Test
  void aRewardThatFailsInAnEvaluationLosesNothing() throws IOException {
    List<ConfigBuilder<PpoConfig>> builders = new ArrayList<>();
    for (String output : List.of("whole", "broken")) {
      builders.add(
          saving(output).set("eval_dataset_path", held.toString()).set("eval_strategy", "epoch"));
    }
    train(builders.get(0), SMALL_IDS);
    Failure failure = FAILURES.get(0);
    assertThrows(RlhfException.class, () -> train(builders.get(1), failing(5, failure.instead())));
    Path broken = temporary.resolve("broken");
    assertTrue(Files.exists(broken.resolve("checkpoint-4")));
    assertEquals(1, column(SameRuns.metrics(broken), "eval_objective/scores").size());
    train(builders.get(1), SMALL_IDS);
    SameRuns.assertSame(temporary.resolve("whole"), broken);
    assertEquals(4, column(SameRuns.metrics(broken), "eval_objective/scores").size());
  }

  @Test
  void rewardsOfTokensAreChecked() {
    TokenRewardFunction tooFew =
        completions -> completions.stream().map(c -> new double[1]).toArray(double[][]::new);
    RlhfException thrown = assertThrows(RlhfException.class, () -> train(builder("few"), tooFew));
    assertTrue(
        thrown
            .getMessage()
            .matches("the reward function gave 1 rewards for the [2-4] tokens of .*"),
        thrown.getMessage());
    TokenRewardFunction infinite =
        completions ->
            completions.stream()
                .map(c -> Arrays.stream(c.ids()).mapToDouble(id -> 1 / 0.0).toArray())
                .toArray(double[][]::new);
    thrown = assertThrows(RlhfException.class, () -> train(builder("infinite"), infinite));
    assertEquals(ExitCode.NON_FINITE, thrown.exitCode());
    thrown =
        assertThrows(
            RlhfException.class, () -> train(builder("delta").set("delta_reward", true), infinite));
    assertEquals(ExitCode.CONFIG, thrown.exitCode());
  }

  @Test
  void aRewardThatLooksAtTheOthersIsFound() {
    RewardFunction ranks =
        completions -> {
          double[] rewards = new double[completions.size()];
          Arrays.setAll(rewards, i -> rewards.length - i);
          return rewards;
        };
    RlhfException thrown = assertThrows(RlhfException.class, () -> train(builder("out"), ranks));
    assertTrue(
        thrown
            .getMessage()
            .matches(
                "the reward of a response is 1\\.0 by itself and 1?\\d\\.0 among others; it must not"
                    + " depend on them\\. Likely causes, the likeliest first: \\(1\\) the reward"
                    + " function looks .*"),
        thrown.getMessage());
    train(builder("free").set("check_invariants", false), ranks);
  }

  @Test
  void inBf16TheFirstRatioIsOne() {
    List<Map<String, Object>> metrics =
        train(builder("out").set("dtype", "bf16").set("per_device_train_batch_size", 2), SMALL_IDS);
    List<Double> ratios = column(metrics, "val/ratio");
    assertEquals(8, ratios.size());
    for (int first : new int[] {0, 4}) {
      assertEquals(1, ratios.get(first), 1e-3);
    }
    assertTrue(ratios.stream().anyMatch(ratio -> Math.abs(ratio - 1) > 1e-3), ratios.toString());
  }

  /**
   * What a reward in bf16 may be by itself, where it is 0.5 among others: an ulp of 8 bits more.
   */
  private static final double ROUNDED = 0.5 + 0x1p-8;

  /** Rewards of some texts by rounding alone: one by itself has another than one among others. */
  private static double[] rounded(List<String> texts) {
    double[] rewards = new double[texts.size()];
    Arrays.fill(rewards, texts.size() == 1 ? ROUNDED : 0.5);
    return rewards;
  }

  /** Rewards that tell texts apart. */
  private static double[] small(List<String> texts) {
    return texts.stream().mapToDouble(text -> text.chars().filter(c -> c < 64).count()).toArray();
  }

  /**
   * A server of rewards.
   *
   * @param alive how many roll-outs it answers; then the connection ends, and from then on the
   *     server is down for longer than anybody waits
   */
  private static HttpServer server(AtomicInteger alive, Function<List<String>, double[]> rewards)
      throws IOException {
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
    // Not counted: where a machine is slow a roll-out may be asked for again.
    Set<List<String>> rollouts = new HashSet<>();
    boolean[] down = new boolean[1];
    server.createContext(
        "/get_reward",
        exchange -> {
          try (exchange) {
            List<String> texts = new ArrayList<>();
            new JsonMapper()
                .readTree(exchange.getRequestBody())
                .get("query")
                .forEach(text -> texts.add(text.asText()));
            // Samples that are looked at alone are no roll-out.
            if (texts.size() > 1) {
              rollouts.add(texts);
            }
            if (rollouts.size() <= alive.get()) {
              String numbers = Arrays.toString(rewards.apply(texts));
              byte[] answer = "{\"rewards\": %s}".formatted(numbers).getBytes(UTF_8);
              exchange.sendResponseHeaders(200, answer.length);
              exchange.getResponseBody().write(answer);
            } else if (down[0]) {
              exchange.getResponseHeaders().set("Retry-After", "999999");
              exchange.sendResponseHeaders(503, -1);
            }
            down[0] = rollouts.size() > alive.get();
          }
        });
    server.start();
    return server;
  }

  @Test
  void whatAServerRoundsIsNoReasonToStop() throws IOException {
    HttpServer server = server(new AtomicInteger(Integer.MAX_VALUE), PpoTrainerTest::rounded);
    try {
      ConfigBuilder<PpoConfig> builder =
          builder("url").set("reward_model_name_or_path", url(server));
      new PpoTrainer(builder.build(), RunContext.silent()).train();
    } finally {
      server.stop(0);
    }
    RewardFunction same = completions -> rounded(completions.stream().map(c -> "").toList());
    for (String type : List.of("fp32", "bf16")) {
      String message =
          assertThrows(RlhfException.class, () -> train(builder(type).set("dtype", type), same))
              .getMessage();
      assertTrue(
          message.startsWith("the reward of a response is 0.50390625 by itself and 0.5 among"),
          message);
      assertTrue(message.contains("dtype fp32, also of its server"), message);
    }
  }

  private static String url(HttpServer server) {
    return "http://127.0.0.1:" + server.getAddress().getPort();
  }

  private void train(HttpServer rewards, String output) {
    PpoConfig config = saving(output).set("reward_model_name_or_path", url(rewards)).build();
    new PpoTrainer(config, RunContext.silent()).train();
  }

  @Test
  void aServerThatDiesLosesNothing() throws IOException {
    AtomicInteger alive = new AtomicInteger(Integer.MAX_VALUE);
    HttpServer whole = server(alive, PpoTrainerTest::small);
    HttpServer dying = server(alive, PpoTrainerTest::small);
    try {
      train(whole, "whole");
      alive.set(2);
      RlhfException thrown = assertThrows(RlhfException.class, () -> train(dying, "out"));
      assertTrue(thrown.getMessage().contains(url(dying)), thrown.getMessage());
      assertEquals(ExitCode.ENVIRONMENT, thrown.exitCode());
      assertTrue(Files.exists(temporary.resolve("out/checkpoint-8")));
      alive.set(Integer.MAX_VALUE);
      train(dying, "out");
    } finally {
      whole.stop(0);
      dying.stop(0);
    }
    SameRuns.assertSame(temporary.resolve("whole"), temporary.resolve("out"));
  }

  @Test
  void promptsLeaveRoomForAllNewTokens() throws IOException {
    // The context of the model is 128.
    Files.writeString(prompts, "{\"prompt\": \"%s\"}\n".formatted("a ".repeat(61)), APPEND);
    List<Map<String, Object>> metrics =
        train(builder("out").set("max_length", 512).set("max_new_tokens", 100), SMALL_IDS);
    assertEquals(List.of(1.0), column(metrics, "data/dropped"));
    RlhfException refused =
        assertThrows(
            RlhfException.class,
            () ->
                train(builder("no").set("max_length", 512).set("max_new_tokens", 400), SMALL_IDS));
    assertEquals(ExitCode.CONFIG, refused.exitCode());
    assertTrue(refused.getMessage().contains("leaves no room for a prompt"), refused.getMessage());
  }

  @ParameterizedTest
  @CsvSource({"policy_head, 0, true", "reference_branch, 1, true", "reference_branch, 1, false"})
  void aValueNetworkGoesOnWhereItWasLeft(String network, int layers, boolean isSameLayout)
      throws IOException {
    train(
        builder("first")
            .set("value_network", isSameLayout ? network : "policy_head")
            .set("num_value_layers_unfrozen", isSameLayout ? layers : 0),
        SMALL_IDS);
    ConfigBuilder<PpoConfig> second =
        builder("second")
            .set("model_name_or_path", temporary.resolve("first").toString())
            .set("value_network", network)
            .set("num_value_layers_unfrozen", layers)
            .set("max_steps", 1)
            .set("learning_rate", 0);
    String out = shown(second, SMALL_IDS);
    String said = "value network: the start folder's value_head.safetensors is of another layout";
    assertEquals(!isSameLayout, out.contains(said), out);
    boolean isSame =
        Arrays.equals(
            Files.readAllBytes(temporary.resolve("first/value_head.safetensors")),
            Files.readAllBytes(temporary.resolve("second/value_head.safetensors")));
    assertEquals(isSameLayout, isSame);
  }

  /** Four roll-outs of four steps are one pass over the prompts. */
  @Test
  void maxStepsMakesARunLonger() {
    List<Map<String, Object>> metrics =
        train(builder("out").set("total_episodes", "none").set("max_steps", 18), SMALL_IDS);
    assertEquals(18, column(metrics, "loss").size());
    assertEquals(List.of(16.0, 80.0), ends(column(metrics, "episode")));
    assertEquals(8, column(train(builder("two").set("max_steps", 18), SMALL_IDS), "loss").size());
  }

  /** Gives a model a context of 32 tokens. */
  private static Path shortened(Path model) throws IOException {
    Path file = model.resolve("config.json");
    String config = Files.readString(file);
    Files.writeString(file, config.replace("_embeddings\": 128", "_embeddings\": 32"));
    return model;
  }

  @Test
  void aRewardModelThatMayNotReadAllRowsIsNamedAtTheStart() throws IOException {
    Path small = shortened(TinyModel.rewardModel(temporary.resolve("small"), 2));
    ConfigBuilder<PpoConfig> builder =
        builder("out").set("reward_model_name_or_path", small.toString()).set("max_steps", 1);
    String expected = "reward_model_name_or_path: the model's context is 32 tokens, rows may have ";
    String said = shown(builder, null);
    assertTrue(said.contains(expected + "64;"), said);
    said = shown(builder.set("output_dir", temporary + "/fits").set("max_length", 32), null);
    assertFalse(said.contains(expected), said);
    // BOS, four bytes of the prompt and thirty of the answer.
    String answer = "a".repeat(30);
    Files.writeString(
        prompts, "{\"prompt\": \"Tell\", \"completion\": \"%s\"}\n".formatted(answer));
    builder.set("output_dir", temporary + "/delta").set("delta_reward", true);
    builder.set("rollout_batch_size", 8);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    assertThrows(RlhfException.class, () -> run(builder, null, out));
    assertTrue(out.toString(UTF_8).contains(expected + "35;"), out.toString(UTF_8));
  }

  @Test
  void aValueModelMustReadAllRows() throws IOException {
    Path small = shortened(TinyModel.causalLm(temporary.resolve("small"), 2));
    ConfigBuilder<PpoConfig> builder =
        builder("out")
            .set("num_layers_unfrozen", -1)
            .set("value_network", "separate")
            .set("value_model_name_or_path", small.toString());
    RlhfException refused = assertThrows(RlhfException.class, () -> train(builder, SMALL_IDS));
    assertEquals(ExitCode.CONFIG, refused.exitCode());
    assertTrue(
        refused.getMessage().contains("the model's context is 32 tokens, rows may have 64"),
        refused.getMessage());
  }
}
