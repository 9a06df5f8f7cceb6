package org.rlhf4j.raft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.Diversity;
import org.rlhf4j.core.generate.FinishReason;
import org.rlhf4j.core.generate.Response;
import org.rlhf4j.core.report.Sample;
import org.rlhf4j.core.train.RewardFunction.Completion;

class RolloutTest {
  private static Response response(FinishReason reason, int... ids) {
    return new Response("t" + ids.length, ids, new float[ids.length], reason);
  }

  private static Rollout rollout() {
    return new Rollout(
        List.of(new PromptRow(3, "p3", new int[] {50, 51}), new PromptRow(8, "p8", new int[] {60})),
        List.of(
            List.of(response(FinishReason.EOS, 1, 2, 1, 2), response(FinishReason.LENGTH, 2, 1)),
            List.of(response(FinishReason.STOP, 7), response(FinishReason.EOS, 1, 2, 9))),
        new double[] {0.5, 2, -1, -3},
        new double[] {0, 0.5, 1, 0.1});
  }

  @Test
  void figuresByHand() {
    // Bigrams: 12 21 12 | 21 | none | 12 29: six, of which 12, 21 and 29 are different.
    Map<String, Object> expected =
        Map.of(
            "reward/all_mean", -1.5 / 4,
            "reward/best_of_k", (2 - 1) / 2.0,
            "kl/to_start", 1.6 / 4,
            "diversity/distinct_2", 3 / 6.0,
            "completions/mean_length", 10 / 4.0,
            "completions/clipped_ratio", 0.25);
    Map<String, Object> figures = rollout().figures();
    assertEquals(expected.keySet(), figures.keySet());
    expected.forEach(
        (name, value) ->
            assertEquals((double) (Double) value, (Double) figures.get(name), 1e-15, name));
    assertEquals(0, Diversity.distinct2(List.of(new int[] {1}, new int[] {2})));
  }

  @Test
  void rowsHoldTheTokensAsSampledAndTheResponseAsTarget() {
    List<Completion> completions = rollout().completions();
    assertEquals("prompt 8, response 1", completions.get(3).place());
    assertEquals("t3", completions.get(3).text());
    TokenRow row = Rollout.row(completions.get(0));
    assertArrayEquals(new int[] {50, 51, 1, 2, 1, 2}, row.ids());
    assertArrayEquals(new boolean[] {false, false, true, true, true, true}, row.targets());
  }

  @Test
  void theFirstResponseOfEachPromptIsShown() {
    assertEquals(
        List.of(new Sample(3, "p3", "t4", 0.5, 0.0, 4), new Sample(8, "p8", "t1", -1.0, 1.0, 1)),
        rollout().samples(5));
    assertEquals(1, rollout().samples(1).size());
  }
}
