package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Held to the numbers that trlX's own functions gave. */
class TrlxPiecesTest {
  private static final String FOLDER = "golden/algorithms/trlx_ppo/";
  private static final double VALUE = 2e-6;
  private static final double GRADIENT = 1e-5;

  private static JsonNode pieces(String version) throws IOException {
    return Numbers.json(FOLDER + version + "/pieces.json");
  }

  /** A case of the loss, with the settings it was made with. */
  private record LossCase(JsonNode node, JsonNode config) {
    double setting(String name, double ofAppendix) {
      return config.path(name).asDouble(ofAppendix);
    }

    double[] flat(String name) {
      return Numbers.flat(node.path(name));
    }
  }

  private static List<LossCase> lossCases(String version) throws IOException {
    JsonNode pieces = pieces(version);
    List<LossCase> cases = new ArrayList<>();
    cases.add(new LossCase(pieces.path("appendix_A"), pieces.path("no settings")));
    pieces.path("random").forEach(node -> cases.add(new LossCase(node, node.path("config"))));
    assertEquals(4, cases.size());
    return cases;
  }

  @ParameterizedTest
  @ValueSource(strings = {"head", "v0.6.0", "v0.5.0"})
  void advantagesReturnsAndWhitening(String version) throws IOException {
    for (LossCase golden : lossCases(version)) {
      double[][] rewards = Numbers.rows(golden.node.path("rewards"));
      double[][] values = Numbers.rows(golden.node.path("values"));
      double[][] advantages = new double[rewards.length][];
      double[][] returns = new double[rewards.length][];
      for (int row = 0; row < rewards.length; row++) {
        Advantages.Estimate estimate =
            Advantages.gae(
                rewards[row], values[row], golden.setting("gamma", 1), golden.setting("lam", 0.95));
        advantages[row] = estimate.advantages();
        returns[row] = estimate.returns();
      }
      Numbers.assertClose(golden.flat("advantages"), Numbers.flat(advantages), VALUE);
      Numbers.assertClose(golden.flat("returns"), Numbers.flat(returns), VALUE);
      double[][] whitened = Whitening.whiten(advantages, true);
      Numbers.assertClose(golden.flat("whitened"), Numbers.flat(whitened), VALUE);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"head", "v0.6.0", "v0.5.0"})
  void lossesGradientsAndStatistics(String version) throws IOException {
    for (LossCase golden : lossCases(version)) {
      boolean[] mask = Numbers.mask(golden.flat("mask"));
      double tokens = Arrays.stream(golden.flat("mask")).sum();
      PpoLoss.Policy policy =
          PpoLoss.policy(
              golden.flat("logprobs"),
              golden.flat("old_logprobs"),
              golden.flat("whitened"),
              mask,
              tokens,
              ClipRange.of(golden.setting("cliprange", 0.2)));
      PpoLoss.Value value =
          PpoLoss.value(
              golden.flat("new_values"),
              golden.flat("values"),
              golden.flat("returns"),
              mask,
              tokens,
              golden.setting("cliprange_value", 0.2));
      double valueWeight = golden.setting("vf_coef", 1);

      Numbers.assertClose(golden.flat("grad_logprobs"), policy.derivative(), GRADIENT);
      double[] ofValues = value.derivative();
      for (int t = 0; t < ofValues.length; t++) {
        ofValues[t] *= valueWeight;
      }
      Numbers.assertClose(golden.flat("grad_values"), ofValues, GRADIENT);
      JsonNode stats = golden.node.path("stats");
      double[] expected = {
        golden.node.path("loss").asDouble(),
        stats.path("losses/policy_loss").asDouble(),
        stats.path("losses/value_loss").asDouble(),
        stats.path("policy/clipfrac").asDouble(),
        stats.path("values/clipfrac").asDouble(),
        stats.path("ratio").asDouble(),
        // trlX divides this one by the padded size.
        stats.path("policy/approx_kl").asDouble() * mask.length / tokens,
      };
      double[] found = {
        policy.loss() + valueWeight * value.loss(),
        policy.loss(),
        value.loss(),
        policy.ratios().clippedShare(),
        value.clippedShare(),
        policy.ratios().mean(),
        policy.ratios().approxKl(),
      };
      Numbers.assertClose(expected, found, VALUE);
    }
  }

  @ParameterizedTest
  @CsvSource({"adaptive_init_0_05_nsteps_32, .05, 32", "adaptive_init_0_2_nsteps_256, .2, 256"})
  void adaptiveController(String name, double coefficient, long samples) throws IOException {
    JsonNode golden = pieces("head").path("kl_controller");
    KlController controller =
        KlController.adaptive(
            coefficient, golden.path("target").asDouble(), golden.path("horizon").asDouble());
    double[] kl = Numbers.row(golden.path("kl"));
    double[] expected = Numbers.row(golden.path(name));
    assertTrue(kl.length > 5);
    for (int i = 0; i < kl.length; i++) {
      controller.update(kl[i], samples);
      assertEquals(expected[i], controller.coefficient(), 1e-15);
    }
  }

  @Test
  void fixedController() throws IOException {
    JsonNode golden = pieces("head").path("kl_controller");
    KlController controller = KlController.fixed(0.05);
    double[] expected = Numbers.row(golden.path("fixed_0_05"));
    double[] kl = Numbers.row(golden.path("kl"));
    for (int i = 0; i < kl.length; i++) {
      controller.update(kl[i], 32);
      assertEquals(expected[i], controller.coefficient());
    }
  }

  @Test
  void runningMoments() throws IOException {
    RunningMoments moments = RunningMoments.start();
    JsonNode updates = pieces("head").path("running_moments");
    assertEquals(4, updates.size());
    for (JsonNode update : updates) {
      moments = moments.with(Numbers.row(update.path("xs")));
      assertEquals(update.path("mean").asDouble(), moments.mean(), 1e-6);
      assertEquals(update.path("var").asDouble(), moments.variance(), 1e-5);
      assertEquals(update.path("std").asDouble(), moments.deviation(), 1e-6);
      assertEquals(update.path("count").asLong(), moments.count());
    }
  }
}
