package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.rlhf4j.ppo.group.GroupRuns.column;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.ParameterSpec;
import org.rlhf4j.core.model.Weights;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.RunContext.MetricsListener;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.ppo.group.GroupRuns;
import org.rlhf4j.ppo.group.GroupRuns.Method;
import org.rlhf4j.ppo.group.GrpoConfig;

/**
 * Runs whose frozen weights or files somebody changes meanwhile: they end with what does not hold
 * any more. Steps on states that were kept do not notice.
 */
class DamagedRunTest {
  /** A frozen weight of the block that policy and reference share. */
  private static final String SHARED = "model.layers.0.mlp.down_proj.weight";

  /** A weight of the block of which the policy has its own. */
  private static final String REFERENCE = "model.layers.1.mlp.down_proj.weight";

  @TempDir Path temporary;
  private CausalLm policy;

  /** The two kinds of run. */
  private enum Kind {
    PPO,
    GROUP;

    /** Trains; the policy is kept for {@link #damage}. */
    List<Map<String, Object>> train(
        DamagedRunTest test, RewardFunction reward, RunContext context, Object... more)
        throws IOException {
      List<Object> keys = new ArrayList<>(List.of("num_layers_unfrozen", 1));
      keys.addAll(Arrays.asList(more));
      if (this == PPO) {
        PpoConfig config = new PpoRuns(test.temporary).builder("out", keys.toArray()).build();
        PpoTrainer trainer = new PpoTrainer(config, context, reward);
        trainer.watch(networks -> test.policy = networks.policy());
        return trainer.train();
      }
      keys.addAll(List.of("beta", 0.05, "num_iterations", 4));
      GroupRuns runs = new GroupRuns(test.temporary, 4);
      GrpoConfig config = (GrpoConfig) runs.builder(Method.GRPO, "out", keys.toArray()).build();
      return GroupRuns.train(config, context, reward, policy -> test.policy = policy);
    }
  }

  private static RunContext context(StopSignal stop, MetricsListener listener) {
    return new RunContext(Console.silent(), stop, listener, List.of());
  }

  private void damage(String parameter) {
    Weights weights = policy.weights();
    List<String> names = weights.parameters().stream().map(ParameterSpec::name).toList();
    Tensor tensor = weights.get(names.indexOf(parameter));
    float[] numbers = tensor.toFloats();
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] *= 2;
    }
    try (TensorScope scope = policy.torch().scope()) {
      Weights.fill(
          policy.torch().ops(),
          scope,
          tensor,
          (from, target) -> target.put(numbers, Math.toIntExact(from), target.remaining()));
    }
  }

  private void assertEnds(String beginning, Kind kind, RewardFunction reward, Object... more) {
    RlhfException ended =
        assertThrows(
            RlhfException.class, () -> kind.train(this, reward, RunContext.silent(), more));
    assertTrue(ended.getMessage().startsWith(beginning), ended.getMessage());
  }

  @ParameterizedTest
  @EnumSource
  void theSamplerHadOtherWeights(Kind kind) {
    assertEnds(
        "sampler and scorer differ by",
        kind,
        drawn -> {
          damage(SHARED);
          return GroupRuns.SMALL_IDS.rewards(drawn);
        });
  }

  @ParameterizedTest
  @EnumSource
  void theReferenceIsNotThePolicy(Kind kind) {
    assertEnds(
        "policy and reference differ by",
        kind,
        drawn -> {
          damage(REFERENCE);
          return GroupRuns.SMALL_IDS.rewards(drawn);
        });
  }

  @ParameterizedTest
  @EnumSource
  void theRewardLooksAtTheOthers(Kind kind) {
    assertEnds(
        "the reward of a response is",
        kind,
        drawn -> drawn.stream().mapToDouble(each -> drawn.size()).toArray());
  }

  @Test
  void theNetworksSaySomethingElseOfOneAlone() {
    assertEnds(
        "a log-probability of a response differs by",
        Kind.PPO,
        drawn -> {
          if (drawn.size() == 1) {
            damage(SHARED);
          }
          return GroupRuns.SMALL_IDS.rewards(drawn);
        });
  }

  @ParameterizedTest
  @EnumSource
  void theLogProbsOfARollOutAreOthers(Kind kind) throws IOException {
    String[] keys = {"resume_from_checkpoint", "auto"};
    StopSignal stop = new StopSignal();
    RunContext stopped = context(stop, row -> stop.request(ExitCode.TERMINATED));
    kind.train(this, GroupRuns.SMALL_IDS, stopped, (Object[]) keys);
    Path file = temporary.resolve("out/checkpoint-0/rollout.jsonl");
    List<String> lines = Files.readAllLines(file);
    add(file, lines, 0, 0.01);
    assertEnds("the ratio of new to old", kind, GroupRuns.SMALL_IDS, (Object[]) keys);
    // Their mean ratio is 1.
    add(file, lines, 1e-3, -1e-3);
    assertEnds("the log-ratio of new to old", kind, GroupRuns.SMALL_IDS, (Object[]) keys);
  }

  /** Writes lines with something added to the first two log-probabilities of each. */
  private static void add(Path file, List<String> lines, double first, double second)
      throws IOException {
    JsonMapper mapper = new JsonMapper();
    List<String> changed = new ArrayList<>();
    for (String line : lines) {
      ObjectNode row = (ObjectNode) mapper.readTree(line);
      ArrayNode logProbs = row.withArray("log_probs");
      if (logProbs.size() > 1) {
        logProbs.set(0, logProbs.get(0).asDouble() + first);
        logProbs.set(1, logProbs.get(1).asDouble() + second);
      }
      changed.add(row.toString());
    }
    Files.write(file, changed);
  }

  /** Else a trunk that changes behind the roll-out changes the steps. */
  @ParameterizedTest
  @EnumSource
  void theStepsReadWhatIsKept(Kind kind) throws IOException {
    int episodes = kind == Kind.PPO ? 8 : 16;
    Object[] keys = {"total_episodes", episodes, "overwrite_output_dir", true};
    List<Map<String, Object>> expected =
        kind.train(this, GroupRuns.SMALL_IDS, RunContext.silent(), keys);
    RunContext damaging =
        context(
            new StopSignal(),
            row -> {
              if (row.containsKey("episode")) {
                damage(SHARED);
              }
            });
    List<Map<String, Object>> found = kind.train(this, GroupRuns.SMALL_IDS, damaging, keys);
    assertEquals(4, column(found, "loss").size());
    assertEquals(column(expected, "loss"), column(found, "loss"));
    Object[] computing = Arrays.copyOf(keys, keys.length + 2);
    computing[keys.length] = "cache_trunk";
    computing[keys.length + 1] = false;
    RlhfException ended =
        assertThrows(
            RlhfException.class, () -> kind.train(this, GroupRuns.SMALL_IDS, damaging, computing));
    assertTrue(ended.getMessage().startsWith("the ratio of new to old"), ended.getMessage());
  }
}
