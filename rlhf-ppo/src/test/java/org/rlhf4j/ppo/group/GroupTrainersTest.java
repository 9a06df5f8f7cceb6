package org.rlhf4j.ppo.group;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.rlhf4j.ppo.group.GroupRuns.column;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.testing.SameRuns;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.Numbers;
import org.rlhf4j.ppo.SlowLlama;
import org.rlhf4j.ppo.group.GroupRuns.Method;
import org.rlhf4j.ppo.rollout.Floats;

class GroupTrainersTest {
  @TempDir Path temporary;
  private GroupRuns runs;

  @BeforeEach
  void files() throws IOException {
    runs = new GroupRuns(temporary, 32);
  }

  private static Object[] keys(String text) {
    return Arrays.stream(text.split(";")).flatMap(pair -> Arrays.stream(pair.split("="))).toArray();
  }

  @ParameterizedTest
  @CsvSource({"GRPO, 0", "RLOO, 0.01", "REINFORCE_PP, 0.01"})
  void aRewardOfOnesOwnRises(Method method, double beta) {
    List<Map<String, Object>> metrics =
        runs.train(
            method,
            "out",
            keys(
                "rollout_batch_size=16;total_episodes=960;per_device_train_batch_size=64;"
                    + "learning_rate=0.01;eval_dataset_path="
                    + runs.held()
                    + ";beta="
                    + beta));
    List<Double> rewards = column(metrics, "reward");
    assertEquals(15, rewards.size());
    assertTrue(rewards.get(14) > rewards.get(0) + 0.2, rewards.toString());
    assertEquals(64, column(metrics, "episode").get(0));
    assertEquals(960, column(metrics, "episode").get(14));
    List<Double> distances = column(metrics, "objective/kl");
    assertEquals(beta == 0 ? 0 : 15, distances.size());
    if (beta > 0) {
      // The first samples are the reference's own.
      assertEquals(0, distances.get(0));
      assertTrue(distances.get(14) > 1, distances.toString());
      assertEquals(Set.of(0.0), new HashSet<>(column(metrics, "reference/drift")));
    }
    // One step for each roll-out: nothing can be clipped, and nothing is said of it.
    assertEquals(List.of(), column(metrics, "clip_ratio/region_mean"));
    assertEquals(2, column(metrics, "eval_reward").size());
  }

  @ParameterizedTest
  @EnumSource(Method.class)
  void withoutALearningRateNothingMoves(Method method) throws IOException {
    List<Map<String, Object>> metrics =
        runs.train(
            method,
            "out",
            keys(
                "learning_rate=0;num_iterations=2;mini_batch_size=8;beta=0.05;num_layers_unfrozen=1"
                    + ";per_device_train_batch_size=3"));
    assertEquals(8, column(metrics, "val/ratio").size());
    for (double ratio : column(metrics, "val/ratio")) {
      assertEquals(1, ratio, 1e-5);
    }
    assertEquals(List.of(0.0, 0.0), column(metrics, "objective/kl"));
    assertEquals(Set.of(0.0), new HashSet<>(column(metrics, "clip_ratio/region_mean")));
    ModelFolder start = ModelFolder.open(runs.model());
    ModelFolder end = ModelFolder.open(runs.output("out"));
    for (String name : start.tensorNames()) {
      assertArrayEquals(start.readFloats(name), end.readFloats(name), name);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "GRPO, per_device_train_batch_size=3, num_layers_unfrozen=1;beta=0.05",
    "GRPO, cache_trunk=false, num_layers_unfrozen=1;beta=0.05",
    "GRPO, activation_checkpointing=true, num_layers_unfrozen=1;beta=0.05",
    "GRPO, per_device_train_batch_size=1, loss_type=grpo;mini_batch_size=16;num_iterations=1",
    "RLOO, per_device_train_batch_size=3, num_layers_unfrozen=1;beta=0.05",
    "REINFORCE_PP, per_device_train_batch_size=5, beta=0.05"
  })
  void howAStepIsComputedChangesNothing(Method method, String other, String both) {
    String common = "learning_rate=1e-4;mini_batch_size=8;num_iterations=2;" + both;
    List<Map<String, Object>> one = runs.train(method, "one", keys(common));
    List<Map<String, Object>> two = runs.train(method, "two", keys(common + ";" + other));
    for (String name : List.of("loss", "grad_norm", "entropy")) {
      List<Double> expected = column(one, name);
      List<Double> found = column(two, name);
      assertEquals(both.contains("num_iterations=1") ? 2 : 8, expected.size());
      for (int i = 0; i < expected.size(); i++) {
        double tolerance = 1e-5 * Math.max(1, expected.get(i));
        assertEquals(expected.get(i), found.get(i), tolerance, name + " " + i);
      }
    }
  }

  @Test
  void aTrunkThatIsSharedStaysAsItWas() throws IOException {
    runs.train(Method.GRPO, "out", keys("num_layers_unfrozen=1"));
    ModelFolder start = ModelFolder.open(runs.model());
    ModelFolder end = ModelFolder.open(runs.output("out"));
    for (String name : start.tensorNames()) {
      boolean isTop = name.startsWith("model.layers.1.") || name.equals("model.norm.weight");
      boolean same = Arrays.equals(start.readFloats(name), end.readFloats(name));
      assertEquals(!isTop, same, name);
    }
  }

  @Test
  void groupsAreAnswersToOnePrompt() {
    List<Completion> seen = new ArrayList<>();
    RewardFunction reward =
        completions -> {
          if (completions.size() > 1) {
            seen.addAll(completions);
          }
          return GroupRuns.SMALL_IDS.rewards(completions);
        };
    Method.GRPO.train(
        runs.builder(Method.GRPO, "out", keys("total_episodes=16")).build(),
        RunContext.silent(),
        reward);
    assertEquals(16, seen.size());
    Set<Integer> prompts = new HashSet<>();
    Set<List<Integer>> answers = new HashSet<>();
    for (int i = 0; i < 16; i++) {
      Completion completion = seen.get(i);
      assertEquals(i % 4, completion.sample());
      assertEquals(seen.get(i / 4 * 4).index(), completion.index());
      prompts.add(completion.index());
      answers.add(Arrays.stream(completion.ids()).boxed().toList());
    }
    assertEquals(4, prompts.size());
    assertTrue(answers.size() > 12, answers.toString());
  }

  /** Rewards that are all equal: their advantages are 0, and the share of such groups is told. */
  @Test
  void groupsWithoutADifferenceTeachNothing() throws IOException {
    RewardFunction byPrompt =
        completions -> completions.stream().mapToDouble(c -> c.index() % 2).toArray();
    List<Map<String, Object>> metrics =
        Method.GRPO.train(runs.builder(Method.GRPO, "out").build(), RunContext.silent(), byPrompt);
    assertEquals(List.of(1.0, 1.0), column(metrics, "frac_reward_zero_std"));
    // Over all responses the rewards, 0 or 1, do differ: n p (1 - p) is the sum of the squares.
    for (int rollout = 0; rollout < 2; rollout++) {
      double share = column(metrics, "reward").get(rollout);
      double expected = Math.sqrt(16 * share * (1 - share) / 15);
      assertEquals(expected, column(metrics, "reward_std").get(rollout), 1e-12);
    }
    assertTrue(Collections.max(column(metrics, "reward_std")) > 0);
    assertEquals(List.of(0.0, 0.0), column(metrics, "grad_norm"));
    metrics = runs.train(Method.GRPO, "other");
    assertTrue(column(metrics, "frac_reward_zero_std").get(0) < 1);
    assertTrue(column(metrics, "reward_std").get(0) > 0);
    SameRuns.assertSameFile(runs.model(), runs.output("out"), "model.safetensors");
  }

  private void refused(Method method, String more, String expected) {
    ConfigBuilder<? extends Record> builder = runs.builder(method, "out", keys(more));
    RlhfException refused = assertThrows(RlhfException.class, builder::build);
    assertEquals(ExitCode.CONFIG, refused.exitCode());
    assertTrue(refused.getMessage().contains(expected), refused.getMessage());
  }

  @Test
  void settingsThatCannotWorkAreRefused() {
    for (Method method : Method.values()) {
      refused(
          method, "num_generations=0", "num_generations: found 0, allowed: a whole number >= 1");
      refused(method, "mini_batch_size=6", "mini_batch_size 6 does not fill groups of num_gen");
      refused(method, "mini_batch_size=20", "is more than the responses of a roll-out");
      refused(method, "total_episodes=30", "total_episodes 30 does not fill groups");
      refused(method, "gradient_accumulation_steps=3", "gradient_accumulation_steps 3 contradicts");
      refused(method, "top_p=0.9", "top_p 0.9: online training draws tokens");
      refused(method, "num_layers_unfrozen=0", "num_layers_unfrozen: found 0");
      refused(method, "lora_dropout=0.1", "allowed: 0");
      refused(method, "max_new_tokens=64", "leaves no room for a prompt in max_length 64");
      refused(method, "overlong=truncate", "prompts are never cut");
      refused(method, "epsilon=0", "epsilon: found 0");
    }
    refused(Method.GRPO, "num_generations=1", "num_generations 1: a response is compared");
    refused(Method.RLOO, "num_generations=1", "num_generations 1: a response is compared");
    refused(
        Method.REINFORCE_PP, "num_generations=1;group_baseline=true", "num_generations 1: a resp");
    refused(Method.REINFORCE_PP, "group_baseline=true;gamma=0.9", "gamma 0.9: group_baseline true");
    refused(Method.GRPO, "loss_type=ppo", "loss_type");
    RlhfException layers =
        assertThrows(
            RlhfException.class, () -> runs.train(Method.GRPO, "out", "num_layers_unfrozen", 3));
    assertTrue(layers.getMessage().contains("num_layers_unfrozen"), layers.getMessage());
    RlhfException nothing =
        assertThrows(
            RlhfException.class,
            () ->
                Method.RLOO.train(
                    runs.builder(Method.RLOO, "out").build(), RunContext.silent(), null));
    assertTrue(nothing.getMessage().contains("reward_model_name_or_path"), nothing.getMessage());
  }

  /** At the second roll-out: before it stand the first and two looks at samples alone. */
  private static final int SECOND = 4;

  /** Fails at one of its calls. */
  private static RewardFunction failing(int call, RewardFunction instead) {
    int[] calls = new int[1];
    return completions -> (++calls[0] == call ? instead : GroupRuns.SMALL_IDS).rewards(completions);
  }

  private void losesNothing(Method method, RewardFunction instead, ExitCode code, String message)
      throws IOException {
    Object[] keys = keys("save_steps=500;resume_from_checkpoint=auto");
    String whole = method + "-whole";
    String broken = method + "-broken";
    runs.train(method, whole, keys);
    ConfigBuilder<? extends Record> builder = runs.builder(method, broken, keys);
    int call = SECOND;
    if (message.contains("within 0.2 s")) {
      // Nothing but what hangs is asked with so little patience: the first call of a resumed run.
      Record patient = builder.build();
      RewardFunction none = failing(SECOND, completions -> null);
      assertThrows(RlhfException.class, () -> method.train(patient, RunContext.silent(), none));
      builder.set("reward_timeout_s", 0.2);
      call = 1;
    }
    Record config = builder.build();
    RewardFunction reward = failing(call, instead);
    RlhfException thrown =
        assertThrows(RlhfException.class, () -> method.train(config, RunContext.silent(), reward));
    assertTrue(thrown.getMessage().contains(message), thrown.getMessage());
    assertEquals(code, thrown.exitCode());
    assertTrue(Files.exists(runs.output(broken).resolve("checkpoint-1")));
    assertFalse(Files.exists(runs.output(broken).resolve("model.safetensors")));
    runs.train(method, broken, keys);
    SameRuns.assertSame(runs.output(whole), runs.output(broken));
  }

  @Test
  void aRewardThatFailsLosesNothing() throws IOException {
    losesNothing(
        Method.RLOO,
        completions -> completions.stream().mapToDouble(c -> Double.NaN).toArray(),
        ExitCode.NON_FINITE,
        "is NaN");
    losesNothing(
        Method.GRPO,
        completions -> {
          try {
            new CountDownLatch(1).await();
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
          return new double[completions.size()];
        },
        ExitCode.ENVIRONMENT,
        "the reward function gave no answer within 0.2 s (reward_timeout_s) for 16 responses");
    losesNothing(
        Method.REINFORCE_PP,
        completions -> {
          throw new IllegalStateException("out of order");
        },
        ExitCode.INPUT,
        "the reward function failed on 16 responses, the first of them prompt ");
  }

  @Test
  void aRewardThatLooksAtTheOthersIsFound() {
    RewardFunction ranks =
        completions -> {
          double[] rewards = new double[completions.size()];
          Arrays.setAll(rewards, i -> rewards.length - i);
          return rewards;
        };
    Record config = runs.builder(Method.GRPO, "out").build();
    RlhfException thrown =
        assertThrows(
            RlhfException.class, () -> Method.GRPO.train(config, RunContext.silent(), ranks));
    assertTrue(
        thrown
            .getMessage()
            .matches("the reward of a response is 1\\.0 by itself and 1?\\d\\.0 among others; .*"),
        thrown.getMessage());
    Record free = runs.builder(Method.GRPO, "free", "check_invariants", false).build();
    Method.GRPO.train(free, RunContext.silent(), ranks);
  }

  @Test
  void samplesOfRollOutsAreWrittenWhereNothingIsEvaluated() throws IOException {
    runs.train(
        Method.GRPO, "out", keys("eval_strategy=no;eval_dataset_path=" + runs.held().toString()));
    try (Stream<Path> files = Files.list(runs.output("out").resolve("samples"))) {
      assertEquals(2, files.count());
    }
  }

  @Test
  void temperatureIsTheSamplersAndTheScorers() {
    // A sampler with another temperature than the scorer ends the run.
    String more = "temperature=0.7;mini_batch_size=8;beta=0.05;max_steps=1;save_steps=1";
    runs.train(Method.RLOO, "out", keys(more));
    SlowLlama start = SlowLlama.read(runs.model());
    Path rollout = runs.output("out").resolve("checkpoint-1/rollout.jsonl");
    for (GroupSample sample : GroupSampleFile.read(rollout)) {
      double[] expected = start.logProbs(sample.row(), 0.7);
      Numbers.assertClose(expected, Floats.wide(sample.logProbs()), 1e-5);
      Numbers.assertClose(expected, Floats.wide(sample.referenceLogProbs()), 1e-5);
    }
  }

  @Test
  void theDataSetsOwnAnswerIsAskedForOnceForAGroup() throws IOException {
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      rows.add("{\"prompt\": \"Tell %d:\", \"completion\": \" yes\"}".formatted(i));
    }
    Files.write(runs.prompts(), rows);
    List<Integer> asked = new ArrayList<>();
    RewardFunction reward =
        completions ->
            completions.stream()
                .mapToDouble(
                    completion -> {
                      if (completion.text().equals(" yes")) {
                        asked.add(completion.index());
                        return 10 * completion.index();
                      }
                      return completion.index();
                    })
                .toArray();
    Object[] keys = keys("delta_reward=true;check_invariants=false");
    ConfigBuilder<? extends Record> builder = runs.builder(Method.RLOO, "out", keys);
    List<Map<String, Object>> metrics =
        Method.RLOO.train(builder.build(), RunContext.silent(), reward);
    assertEquals(8, asked.size());
    assertEquals(8, new HashSet<>(asked).size());
    // Of both roll-outs together: 9 times the mean of the indices 0 to 7.
    assertEquals(
        -9 * 3.5,
        column(metrics, "reward").stream().mapToDouble(Double::doubleValue).average().orElse(0));
  }

  @Test
  void aFunctionRoundsAsJavaDoesWhateverThePolicyComputesWith() {
    // An ulp of bf16.
    RewardFunction rounded =
        completions -> {
          double[] rewards = new double[completions.size()];
          Arrays.fill(rewards, rewards.length == 1 ? 0.5 + 0x1p-8 : 0.5);
          return rewards;
        };
    Record config = runs.builder(Method.GRPO, "out", "dtype", "bf16").build();
    RlhfException thrown =
        assertThrows(
            RlhfException.class, () -> Method.GRPO.train(config, RunContext.silent(), rounded));
    assertTrue(
        thrown.getMessage().startsWith("the reward of a response is 0.50390625 by itself and 0.5"),
        thrown.getMessage());
  }

  @Test
  void whatReinforcePlusPlusHoldsWithinBoundsIsCounted() {
    RewardFunction large =
        completions -> completions.stream().mapToDouble(c -> c.sample() == 0 ? -11 : 10).toArray();
    String far = "check_invariants=false;beta=0.05;kl_estimator=k2;learning_rate=1";
    Record config = runs.builder(Method.REINFORCE_PP, "out", keys(far)).build();
    List<Map<String, Object>> metrics =
        Method.REINFORCE_PP.train(config, RunContext.silent(), large);
    assertEquals(List.of(0.25, 0.25), column(metrics, "objective/scores_clipfrac"));
    // Four of -11 and twelve of 10: the mean is 4.75, the sum of the squared distances 1323.
    assertEquals(Math.sqrt(1323 / 15.0), column(metrics, "reward_std").get(0), 1e-12);
    List<Double> held = column(metrics, "objective/kl_clipfrac");
    assertEquals(0.0, held.get(0));
    // One step of this size leads far away; what is then paid is held within bounds too.
    assertTrue(held.get(1) > 0.5, held.toString());
    double mostPaid = 0.05 * 10 * column(metrics, "completions/mean_length").get(1);
    assertEquals(
        -0.75 * mostPaid, column(metrics, "objective/non_score_reward").get(1), 0.25 * mostPaid);
    double[][] kl = {{0, 10, -10.5}, {11}};
    assertEquals(0.5, ReinforcePlusPlus.clippedKl(kl));
  }

  @Test
  void inBf16TheFirstRatioIsOne() {
    for (Method method : Method.values()) {
      List<Map<String, Object>> metrics =
          runs.train(method, method.name(), keys("dtype=bf16;mini_batch_size=8;beta=0.05"));
      assertEquals(1, column(metrics, "val/ratio").get(0), 1e-3);
    }
  }
}
