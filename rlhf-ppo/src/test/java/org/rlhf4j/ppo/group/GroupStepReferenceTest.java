package org.rlhf4j.ppo.group;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.rlhf4j.ppo.group.GroupRuns.column;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.LmHead;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.testing.TestTokenizers;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.RewardFunction;
import org.rlhf4j.core.train.RewardFunction.Completion;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.ppo.group.GroupRuns.Method;

/**
 * The losses of two roll-outs with two steps each against the formulas of the papers, written down
 * a second time: from log-probabilities that a plain pass over each row by itself gives, with the
 * weights before each step.
 */
class GroupStepReferenceTest {
  private static final int GROUP = 4;
  private static final int SIZE = 4 * GROUP;
  private static final int LONGEST = 5;

  @TempDir Path temporary;
  private GroupRuns runs;
  private final List<Completion> completions = new ArrayList<>();
  private final List<Double> rewards = new ArrayList<>();

  @BeforeEach
  void files() throws IOException {
    runs = new GroupRuns(temporary, 4);
  }

  /** Keeps the roll-outs; the first response is asked for again, by itself. */
  private double[] reward(List<Completion> asked) {
    double[] found = GroupRuns.SMALL_IDS.rewards(asked);
    for (int i = 0; i < found.length && asked.size() > 1; i++) {
      completions.add(asked.get(i));
      rewards.add(found[i]);
    }
    return found;
  }

  /** What the formulas need of a response. */
  private record Row(double[] now, double[] before, double[] reference, double reward) {
    int length() {
      return now.length;
    }
  }

  @ParameterizedTest
  @CsvSource({
    "GRPO, 0, 1, loss_type=dapo",
    "GRPO, 0.1, 0.7, loss_type=dapo;scale_rewards=batch",
    "GRPO, 0.1, 1, loss_type=grpo",
    "GRPO, 0.1, 1, loss_type=dr_grpo;scale_rewards=none",
    "GRPO, 0.1, 1, loss_type=bnpo;per_device_train_batch_size=8",
    "GRPO, 0, 1, cliprange_reward=0.3;missing_eos_penalty=0.2;length_penalty=0.01",
    "RLOO, 0.1, 1, epsilon_high=0.3",
    "RLOO, 0.1, 1, cliprange_reward=0.3;missing_eos_penalty=0.2;length_penalty=0.01",
    "RLOO, 0, 0.7, normalize_advantages=true",
    "REINFORCE_PP, 0.1, 1, kl_estimator=k1",
    "REINFORCE_PP, 0.1, 1, cliprange_reward=0.3;missing_eos_penalty=0.2;length_penalty=0.01",
    "REINFORCE_PP, 0.1, 0.7, gamma=0.9;kl_estimator=k2",
    "REINFORCE_PP, 0, 1, group_baseline=true"
  })
  void lossesAreThoseOfThePapers(Method method, double beta, double temperature, String more)
      throws IOException {
    assertLosses(method, beta, temperature, more);
  }

  /** Also where the parts of a step are computed side by side. */
  @ParameterizedTest
  @CsvSource({
    "GRPO, 0.1, 1, loss_type=bnpo;per_device_train_batch_size=8",
    "RLOO, 0.1, 1, epsilon_high=0.3"
  })
  void soTheyAreSideBySide(Method method, double beta, double temperature, String more)
      throws IOException {
    try (Torch torch = Torch.open("cpu")) {
      int before = torch.threads();
      torch.setThreads(2);
      try {
        assertLosses(method, beta, temperature, more);
      } finally {
        torch.setThreads(before);
      }
    }
  }

  private void assertLosses(Method method, double beta, double temperature, String more)
      throws IOException {
    List<Object> keys =
        new ArrayList<>(List.of("beta", beta, "temperature", temperature, "num_iterations", 2));
    keys.addAll(List.of("total_episodes", 2 * SIZE, "save_steps", 1, "save_total_limit", 0));
    keys.addAll(List.of("learning_rate", 2e-2, "epsilon", 0.1, "shuffle_dataset", false));
    Arrays.stream(more.split(";")).forEach(pair -> keys.addAll(List.of(pair.split("="))));
    RewardFunction reward = this::reward;
    List<Map<String, Object>> metrics =
        method.train(
            runs.builder(method, "out", keys.toArray()).build(), RunContext.silent(), reward);
    double clipped = 0;
    double[][] ofRollout = {};
    double[][] ofStart = {};
    for (int step = 0; step < 4; step++) {
      int from = step / 2 * SIZE;
      double[][] now = logProbs(weights(step), from, temperature);
      if (step % 2 == 0) {
        // The weights that drew the responses; the first ones are the reference's.
        ofRollout = Arrays.stream(now).map(double[]::clone).toArray(double[][]::new);
        ofStart = step == 0 ? ofRollout : logProbs(weights(0), from, temperature);
      }
      double[][] before = ofRollout;
      double[][] reference = ofStart;
      ToDoubleFunction<double[][]> loss =
          at -> loss(method, rows(at, before, reference, from, more), beta, more);
      double expected = loss.applyAsDouble(now);
      assertEquals(expected, column(metrics, "loss").get(step), 2e-5, "step " + step);
      if (temperature == 1) {
        double norm = gradientNorm(weights(step), from, slopes(loss, now));
        assertEquals(norm, column(metrics, "grad_norm").get(step), 1e-3 * norm, "step " + step);
      }
      // A ratio of RLOO is of all tokens of a response, and may be far from 1.
      double ratio = ratio(method, rows(now, before, reference, from, more));
      assertEquals(ratio, column(metrics, "val/ratio").get(step), 1e-5 * Math.max(1, ratio));
      double region = column(metrics, "clip_ratio/region_mean").get(step);
      assertEquals(
          column(metrics, "clip_ratio/low_mean").get(step)
              + column(metrics, "clip_ratio/high_mean").get(step),
          region,
          1e-12);
      assertTrue(step % 2 == 1 || region == 0, "the first ratios are 1");
      clipped += region;
    }
    assertTrue(clipped > 0, "the steps must show the clipping");
  }

  /** The folder of the weights after so many steps. */
  private Path weights(int steps) {
    return steps == 0 ? runs.model() : runs.output("out").resolve("checkpoint-" + steps);
  }

  private List<Row> rows(
      double[][] now, double[][] before, double[][] reference, int from, String more) {
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < SIZE; i++) {
      double reward = rewards.get(from + i);
      int[] ids = completions.get(from + i).ids();
      if (more.contains("length_penalty")) {
        boolean ended = ids[ids.length - 1] == TestTokenizers.EOS;
        reward = Math.min(reward, 0.3) - (ended ? 0 : 0.2) - 0.01 * ids.length;
      }
      rows.add(new Row(now[i], before[i], reference[i], reward));
    }
    return rows;
  }

  /** The mean over what the loss has ratios of: responses for RLOO, else tokens. */
  private static double ratio(Method method, List<Row> rows) {
    List<Double> ratios = new ArrayList<>();
    for (Row row : rows) {
      double sum = 0;
      for (int t = 0; t < row.length(); t++) {
        sum += row.now()[t] - row.before()[t];
        if (method != Method.RLOO) {
          ratios.add(Math.exp(row.now()[t] - row.before()[t]));
        }
      }
      if (method == Method.RLOO) {
        ratios.add(Math.exp(sum));
      }
    }
    return ratios.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
  }

  private TokenRow row(Completion completion) {
    int[] prompt = completion.promptIds();
    int[] ids = Arrays.copyOf(prompt, prompt.length + completion.ids().length);
    System.arraycopy(completion.ids(), 0, ids, prompt.length, completion.ids().length);
    return TokenRow.targetsFrom(ids, prompt.length);
  }

  private double[][] logProbs(Path folder, int from, double temperature) {
    try (Torch torch = Torch.open("cpu");
        CausalLm model =
            ModelLoader.causalLm(
                torch,
                ModelFolder.open(folder),
                new ModelLoader.Options(ElementType.FP32, false))) {
      double[][] found = new double[SIZE][];
      for (int i = 0; i < found.length; i++) {
        TokenBatch batch = TokenBatch.ofTargets(List.of(row(completions.get(from + i))));
        try (TensorScope scope = torch.scope()) {
          Tensor hidden = model.decoder().forward(scope, batch, Recording.NONE).hidden();
          LmHead.Reading reading = new LmHead.Reading(false, temperature);
          float[] one = model.head().logProbs(scope, hidden, batch.targets(), reading).logProbs();
          found[i] = new double[one.length];
          for (int t = 0; t < one.length; t++) {
            found[i][t] = one[t];
          }
        }
      }
      return found;
    }
  }

  /** The slope of the loss at each log-probability, by central differences. */
  private static float[][] slopes(ToDoubleFunction<double[][]> loss, double[][] at) {
    double width = 1e-6;
    float[][] slopes = new float[at.length][];
    for (int i = 0; i < at.length; i++) {
      slopes[i] = new float[at[i].length];
      for (int t = 0; t < at[i].length; t++) {
        double middle = at[i][t];
        at[i][t] = middle + width;
        double above = loss.applyAsDouble(at);
        at[i][t] = middle - width;
        double below = loss.applyAsDouble(at);
        at[i][t] = middle;
        slopes[i][t] = (float) ((above - below) / (2 * width));
      }
    }
    return slopes;
  }

  private double gradientNorm(Path folder, int from, float[][] slopes) {
    try (Torch torch = Torch.open("cpu");
        CausalLm model =
            ModelLoader.causalLm(
                torch, ModelFolder.open(folder), new ModelLoader.Options(ElementType.FP32, true));
        TensorScope scope = torch.scope()) {
      Gradients gradients = new Gradients(torch.ops(), scope, model.trained());
      for (int i = 0; i < slopes.length; i++) {
        float[] ofRow = slopes[i];
        TokenBatch batch = TokenBatch.ofTargets(List.of(row(completions.get(from + i))));
        model.addGradients(batch, logProbs -> ofRow, Recording.FULL, gradients, false);
      }
      return torch.ops().norm(scope, gradients.all());
    }
  }

  private static double loss(Method method, List<Row> rows, double beta, String more) {
    return switch (method) {
      case GRPO -> grpo(rows, beta, more);
      case RLOO -> rloo(rows, beta, more);
      case REINFORCE_PP -> reinforcePlusPlus(rows, beta, more);
    };
  }

  private static double clipped(double ratio, double advantage, double high) {
    double bounded = Math.min(Math.max(ratio, 1 - 0.1), 1 + high);
    return -Math.min(ratio * advantage, bounded * advantage);
  }

  private static double mean(double[] values) {
    return Arrays.stream(values).sum() / values.length;
  }

  /** With divisor n - 1. */
  private static double deviation(double[] values) {
    double mean = mean(values);
    double squares = Arrays.stream(values).map(x -> (x - mean) * (x - mean)).sum();
    return Math.sqrt(squares / (values.length - 1));
  }

  private static double[] group(double[] values, int i) {
    return Arrays.copyOfRange(values, i / GROUP * GROUP, i / GROUP * GROUP + GROUP);
  }

  private static double grpo(List<Row> rows, double beta, String more) {
    double[] rewards = rows.stream().mapToDouble(Row::reward).toArray();
    int tokens = rows.stream().mapToInt(Row::length).sum();
    double loss = 0;
    for (int i = 0; i < rows.size(); i++) {
      Row row = rows.get(i);
      double[] group = group(rewards, i);
      double divisor = deviation(group) + 1e-4;
      if (more.contains("scale_rewards=batch")) {
        divisor = deviation(rewards) + 1e-4;
      } else if (more.contains("scale_rewards=none")) {
        divisor = 1;
      }
      double advantage = (row.reward - mean(group)) / divisor;
      double sum = 0;
      for (int t = 0; t < row.length(); t++) {
        double d = row.reference[t] - row.now[t];
        sum += clipped(Math.exp(row.now[t] - row.before[t]), advantage, 0.1);
        sum += beta * (Math.exp(d) - d - 1);
      }
      if (more.contains("loss_type=grpo")) {
        loss += sum / row.length() / rows.size();
      } else if (more.contains("loss_type=dr_grpo")) {
        loss += sum / (rows.size() * LONGEST);
      } else if (more.contains("loss_type=bnpo")) {
        // Two halves of eight responses are computed apart.
        int half = i / 8 * 8;
        loss += sum / rows.subList(half, half + 8).stream().mapToInt(Row::length).sum() / 2;
      } else {
        loss += sum / tokens;
      }
    }
    return loss;
  }

  private static double rloo(List<Row> rows, double beta, String more) {
    double[] rewards = new double[rows.size()];
    for (int i = 0; i < rewards.length; i++) {
      Row row = rows.get(i);
      rewards[i] = row.reward;
      for (int t = 0; t < row.length(); t++) {
        rewards[i] -= beta * (row.before[t] - row.reference[t]);
      }
    }
    double[] advantages = new double[rewards.length];
    for (int i = 0; i < rewards.length; i++) {
      double others = Arrays.stream(group(rewards, i)).sum() - rewards[i];
      advantages[i] = rewards[i] - others / (GROUP - 1);
    }
    if (more.contains("normalize_advantages=true")) {
      double mean = mean(advantages);
      double deviation = deviation(advantages);
      for (int i = 0; i < advantages.length; i++) {
        advantages[i] = (advantages[i] - mean) / (deviation + 1e-4);
      }
    }
    double high = more.contains("epsilon_high=0.3") ? 0.3 : 0.1;
    double loss = 0;
    for (int i = 0; i < rows.size(); i++) {
      Row row = rows.get(i);
      double logRatio = Arrays.stream(row.now).sum() - Arrays.stream(row.before).sum();
      loss += clipped(Math.exp(logRatio), advantages[i], high) / rows.size();
    }
    return loss;
  }

  private static double reinforcePlusPlus(List<Row> rows, double beta, String more) {
    double[] rewards = rows.stream().mapToDouble(Row::reward).toArray();
    double gamma = more.contains("gamma=0.9") ? 0.9 : 1;
    List<double[]> returns = new ArrayList<>();
    for (int i = 0; i < rows.size(); i++) {
      Row row = rows.get(i);
      boolean baseline = more.contains("group_baseline=true");
      double later = 0;
      double[] ofRow = new double[row.length()];
      for (int t = row.length() - 1; t >= 0; t--) {
        double d = row.before[t] - row.reference[t];
        double kl = Math.min(10, more.contains("kl_estimator=k2") ? d * d / 2 : Math.max(-10, d));
        double score = baseline ? row.reward - mean(group(rewards, i)) : row.reward;
        later = gamma * later - beta * kl + (t == row.length() - 1 ? score : 0);
        ofRow[t] = later;
      }
      returns.add(ofRow);
    }
    double[] all = returns.stream().flatMapToDouble(Arrays::stream).toArray();
    double mean = mean(all);
    double variance = Arrays.stream(all).map(x -> (x - mean) * (x - mean)).sum() / all.length;
    double loss = 0;
    for (int i = 0; i < rows.size(); i++) {
      Row row = rows.get(i);
      for (int t = 0; t < row.length(); t++) {
        double advantage = (returns.get(i)[t] - mean) / Math.sqrt(variance);
        loss += clipped(Math.exp(row.now[t] - row.before[t]), advantage, 0.1) / all.length;
      }
    }
    return loss;
  }
}
