package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.generate.FinishReason;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.ppo.rollout.Seconds;

/** Held to numbers that were worked out from the formulas apart from this code. */
class ExperienceMakerTest {
  private static final double[][] NO_TOKEN_SCORES = null;

  /** A response that ended by itself, and one that was cut. */
  private static Rollout rollout(double[][] tokenScores) {
    float[][] logProbs = {{-1, -2}, {-0.5f, -1.5f, -3}};
    return new Rollout(
        List.of(new PromptRow(7, "a", new int[] {1, 2}), new PromptRow(9, "b", new int[] {3})),
        List.of(
            new Response("x", new int[] {4, 0}, logProbs[0], FinishReason.EOS),
            new Response("y", new int[] {5, 6, 7}, logProbs[1], FinishReason.LENGTH)),
        new double[] {3, -0.5},
        tokenScores,
        logProbs,
        new float[][] {{-1.5f, -1.75f}, {-0.5f, -2, -2.5f}},
        new float[][] {{0.5f, 0.25f}, {-0.5f, 0, 1}},
        new Seconds(1, 1));
  }

  private static ConfigBuilder<PpoConfig> builder() {
    return Config.of(PpoConfig.class)
        .set("model_name_or_path", System.getProperty("java.io.tmpdir"))
        .set("dataset_path", System.getProperty("java.io.tmpdir"))
        .set("output_dir", "unused")
        .set("cliprange_reward", 2)
        .set("missing_eos_penalty", 1)
        .set("length_penalty", 0.25)
        .set("scale_reward", "ref")
        .set("whiten_rewards", true)
        .set("gamma", 0.9)
        .set("lam", 0.8);
  }

  private static ExperienceMaker.Made made(
      ConfigBuilder<PpoConfig> builder, double[][] tokenScores) {
    PpoConfig config = builder.build();
    return new ExperienceMaker(config.rollout().shaping(), config.update())
        .make(rollout(tokenScores), ScoreScaling.start(config.update().scaleReward()), 0.1);
  }

  private static void assertMade(
      ExperienceMaker.Made made, double[][] rewards, double[][] advantages, double[][] returns) {
    for (int i = 0; i < 2; i++) {
      Experience sample = made.samples().get(i);
      assertArrayEquals(rewards[i], sample.rewards(), 1e-12);
      assertArrayEquals(advantages[i], sample.advantages(), 1e-12);
      assertArrayEquals(returns[i], sample.returns(), 1e-12);
    }
  }

  @Test
  void scoresOfResponses() {
    ExperienceMaker.Made made = made(builder(), NO_TOKEN_SCORES);
    // Scores 2 - 0.5 and -0.5 - 1 - 0.75: their deviation is 3.75 / sqrt(2).
    assertEquals(3.75 / Math.sqrt(2), made.scaling().divisor(), 1e-15);
    assertEquals(-0.0125, (double) made.figures().get("objective/non_score_reward"), 1e-15);
    assertEquals(-0.15392135623730951, (double) made.figures().get("objective/rlhf_reward"), 1e-15);
    assertMade(
        made,
        new double[][] {
          {-0.038107850182612625, 1.2611849198713407},
          {0.06329080190603892, -0.038107850182612625, -1.556102733886773}
        },
        new double[][] {
          {0.6236294864018158, 1.0535503086927291},
          {0.22259683782596973, -0.3811207847562241, -1.5186558481642907}
        },
        new double[][] {
          {0.9149452921247527, 1.2611849198713407},
          {-0.6412305074723454, -0.9785018185810893, -1.5561027338867728}
        });
    assertEquals(7, made.samples().get(0).index());
    assertArrayEquals(new int[] {5, 6, 7}, made.samples().get(1).ids());
  }

  @Test
  void anotherEstimatorOfTheKl() {
    assertMade(
        made(builder().set("kl_estimator", "k3"), NO_TOKEN_SCORES),
        new double[][] {
          {0.04103417950428556, 1.1640830899840227},
          {0.061915944992943256, 0.04103417950428556, -1.6304909071414697}
        },
        new double[][] {
          {0.6457692579995442, 0.9980560044921009},
          {0.25145132531601566, -0.34447918741222977, -1.5507974003954308}
        },
        new double[][] {
          {0.924174004292782, 1.1640830899840227},
          {-0.6241859320261092, -0.9529192736375727, -1.6304909071414695}
        });
  }

  @Test
  void scoresOfTokens() {
    ExperienceMaker.Made made = made(builder(), new double[][] {{3, 1}, {-0.5, 0.25, -4}});
    assertEquals(6.5 / Math.sqrt(2), made.scaling().divisor(), 1e-15);
    assertMade(
        made,
        new double[][] {
          {0.9885533075755671, 0.40415546751066256},
          {-0.15981596538528287, 0.1033208091717233, -1.6875705948049227}
        },
        new double[][] {
          {1.062058297724326, 0.56022980935558},
          {0.19731406374574925, -0.2526230879334851, -1.5669790828921706}
        },
        new double[][] {
          {1.3245452441832442, 0.40415546751066256},
          {-0.8306615791285141, -0.931730019087821, -1.6875705948049227}
        });
  }

  @ParameterizedTest
  @CsvSource({
    "gamma, 0.8",
    "lam, 0.7",
    "kl_estimator, k2",
    "kl_estimator, k3",
    "cliprange_reward, 1",
    "missing_eos_penalty, 2",
    "length_penalty, 0",
    "scale_reward, none",
    "whiten_rewards, false",
    "whiten_advantages, false"
  })
  void eachKeyCounts(String key, String value) {
    double[] before = made(builder(), NO_TOKEN_SCORES).samples().get(1).advantages();
    double[] after = made(builder().set(key, value), NO_TOKEN_SCORES).samples().get(1).advantages();
    assertFalse(Arrays.equals(before, after));
  }

  @Test
  void aRollOutOfEqualScoresTellsNoScale() {
    ScoreScaling none = ScoreScaling.start(ScoreScale.REF).with(new double[] {1, 1, 1});
    assertEquals(1, none.divisor());
    assertEquals(Math.sqrt(2), none.with(new double[] {1, 3}).divisor(), 1e-15);
    assertEquals(
        Math.sqrt(2), none.with(new double[] {1, 3}).with(new double[] {1, 9}).divisor(), 1e-15);
    // Over the run so far it moves: the variance of 1, 3, 1 and 9 is 43 / 4 or 43 / 3.
    double running =
        ScoreScaling.start(ScoreScale.RUNNING)
            .with(new double[] {1, 3})
            .with(new double[] {1, 9})
            .divisor();
    assertEquals(Math.sqrt(43.0 / 3), running, 1e-12);
  }
}
