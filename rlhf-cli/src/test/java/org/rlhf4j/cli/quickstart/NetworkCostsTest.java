package org.rlhf4j.cli.quickstart;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.cli.quickstart.NetworkCosts.Cost;
import org.rlhf4j.cli.quickstart.NetworkCosts.Measured;
import org.rlhf4j.cli.quickstart.NetworkCosts.Seconds;

class NetworkCostsTest {
  @TempDir private Path folder;

  @Test
  void theFirstRollOutIsNotCounted() throws IOException {
    Path metrics = folder.resolve("metrics.jsonl");
    Files.writeString(
        metrics,
        """
        {"step": 0, "timing_s/sample": 9, "timing_s/score": 8, "peak_rss_mib": 100}
        {"step": 1, "timing_s/update": 7, "peak_rss_mib": 150}
        {"step": 1, "timing_s/sample": 1, "timing_s/score": 2, "peak_rss_mib": 160}
        {"step": 2, "timing_s/update": 3, "peak_rss_mib": 200}
        {"step": 3, "timing_s/update": 4, "peak_rss_mib": 201.5}
        """);
    Measured measured = NetworkCosts.measured(metrics);
    assertEquals(List.of(new Seconds(1, 2, 7)), measured.rollouts());
    assertEquals(201.5, measured.peakMib());
  }

  @Test
  void noMemoryIsNotNone() throws IOException {
    Path metrics = folder.resolve("metrics.jsonl");
    Files.writeString(metrics, "{\"timing_s/sample\": 9, \"timing_s/score\": 8}\n");
    assertTrue(Double.isNaN(NetworkCosts.measured(metrics).peakMib()));
  }

  @Test
  void aCostIsTheMedianOfAllTurns() {
    Cost cost =
        new Cost(
            List.of(
                new Measured(List.of(new Seconds(1, 0, 0), new Seconds(2, 0, 5)), 100),
                new Measured(List.of(new Seconds(30, 0, 0), new Seconds(4, 0, 0)), 120)));
    assertEquals(3, cost.seconds(Seconds::sampling));
    // Of 1, 7, 30, 4.
    assertEquals(5.5, cost.seconds(Seconds::all));
    assertEquals(110, cost.peakMib());
  }
}
