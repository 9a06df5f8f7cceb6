package org.rlhf4j.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.ppo.group.GroupLossType;
import org.rlhf4j.ppo.group.GroupMethod;
import org.rlhf4j.ppo.group.GroupMethod.Part;
import org.rlhf4j.ppo.group.GroupSample;
import org.rlhf4j.ppo.group.GrpoConfig;

/** The loss of {@link OwnMethodExample}, by hand. */
class GspoTest {
  private static final double[] OLD = {-1, -2, -0.5};
  private static final List<GroupSample> SAMPLES =
      List.of(sample(new int[] {3, 4}, 2), sample(new int[] {5}, -1));

  private static GroupSample sample(int[] ids, double advantage) {
    double[] advantages = new double[ids.length];
    Arrays.fill(advantages, advantage);
    return new GroupSample(0, new int[] {1}, ids, null, null, advantages);
  }

  private static GroupMethod.Share loss(double... logProbs) {
    GrpoConfig config =
        Config.of(GrpoConfig.class)
            .set("model_name_or_path", "../examples/models/tinystories-260k")
            .set("dataset_path", "../examples/data/hh/harmless-base-train.jsonl.gz")
            .set("output_dir", "unused")
            .set("epsilon", 0.2)
            .build();
    return new OwnMethodExample.Gspo(config)
        .loss(
            new Part(
                SAMPLES,
                logProbs,
                OLD,
                new GroupLossType.Part(2, 3),
                new GroupLossType.Batch(2, 3, 8)));
  }

  @Test
  void ratiosAreOfWholeResponses() {
    // log s = (0.1 + 0) / 2 = 0.05 and 0.1; (-2 exp(0.05) + 1 exp(0.1)) / 2.
    GroupMethod.Share found = loss(-0.9, -2, -0.4);
    assertEquals((-2 * Math.exp(0.05) + Math.exp(0.1)) / 2, found.loss(), 1e-12);
    assertEquals(-2 * Math.exp(0.05) / 2 / 2, found.derivative()[0], 1e-12);
    assertEquals(found.derivative()[0], found.derivative()[1], 0);
    assertEquals(Math.exp(0.1) / 2, found.derivative()[2], 1e-12);
    assertEquals((Math.exp(0.05) + Math.exp(0.1)) / 2, found.ratio(), 1e-12);
  }

  @Test
  void whatIsClippedHasNoSlope() {
    // log s = 0.3 is over 1.2, -0.6 is under 0.8.
    GroupMethod.Share found = loss(-0.7, -1.7, -1.1);
    assertEquals((-2 * 1.2 + 0.8) / 2, found.loss(), 1e-12);
    for (double slope : found.derivative()) {
      assertEquals(0, slope, 0);
    }
    assertEquals(0.5, found.clippedLow(), 0);
    assertEquals(0.5, found.clippedHigh(), 0);
  }
}
