package org.rlhf4j.cli.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.testing.TinyModel;

class BenchmarkTest {
  @TempDir Path folder;

  private Map<String, Object> run(BenchConfig.Workload workload) throws IOException {
    Path model = folder.resolve("tiny");
    Path config = TinyModel.causalLm(model, 1).resolve("config.json");
    return new Benchmark(
            new BenchConfig(
                config, workload, DtypeChoice.FP32, BenchConfig.Lengths.FIXED, 1, 2, 1, "cpu"))
        .run();
  }

  @Test
  void loadingHasNoFloatingPointOperations() throws IOException {
    Map<String, Object> line = run(BenchConfig.Workload.LOAD);
    assertEquals(
        List.of(
            "bench",
            "shape",
            "dtype",
            "threads",
            "unit",
            "median",
            "low",
            "high",
            "steps",
            "peak_rss_mib",
            "startup_s",
            "gemm_gflops"),
        List.copyOf(line.keySet()));
    assertEquals("load", line.get("bench"));
    assertEquals("tiny", line.get("shape"));
    assertEquals(1, line.get("steps"));
    assertTrue((double) line.get("median") > 0);
  }

  @ParameterizedTest
  @EnumSource(names = {"PPO", "GRPO", "RLOO"})
  void phasesOfARollOutArePartOfTheRun(BenchConfig.Workload workload) throws IOException {
    long start = System.nanoTime();
    Map<String, Object> line = run(workload);
    double whole = (System.nanoTime() - start) / 1e9;
    // One roll-out to warm up, the last one has no next one that would end it.
    assertEquals(2, line.get("steps"));
    assertEquals("samples/s", line.get("unit"));
    double phases = 0;
    for (String phase : List.of("timing_s/sample", "timing_s/score", "timing_s/update")) {
      double seconds = (double) line.get(phase);
      assertTrue(seconds > 0, phase);
      phases += seconds;
    }
    assertTrue(phases < whole, line.toString());
    assertTrue(OnlineBenchmark.SAMPLES / (double) line.get("low") < whole, line.toString());
  }

  /** One roll-out of four to warm up; in each an update has two steps. */
  @Test
  void aPhaseIsTheMedianOfWhatItTookInTheTimedRollOuts() {
    List<Double> steps = List.of(90.0, 90.0, 1.0, 2.0, 10.0, 20.0, 3.0, 4.0);
    // Of 3, 30 and 7.
    assertEquals(7, OnlineBenchmark.median(steps, 1, 4));
    assertEquals(7, OnlineBenchmark.median(List.of(90.0, 3.0, 30.0, 7.0), 1, 4));
  }
}
