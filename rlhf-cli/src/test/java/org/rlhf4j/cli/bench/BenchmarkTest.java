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
  void phasesOfARollOutMakeUpItsTime(BenchConfig.Workload workload) throws IOException {
    Map<String, Object> line = run(workload);
    // One roll-out to warm up, the last one has no next one that would end it.
    assertEquals(2, line.get("steps"));
    assertEquals("samples/s", line.get("unit"));
    double phases = 0;
    for (String phase : List.of("timing_s/sample", "timing_s/score", "timing_s/update")) {
      double seconds = (double) line.get(phase);
      assertTrue(seconds > 0, phase);
      phases += seconds;
    }
    // Between them only metrics are written and prompts looked up.
    double whole = OnlineBenchmark.SAMPLES / (double) line.get("low");
    assertTrue(phases < 1.5 * whole, line.toString());
    assertTrue(phases > 0.4 * OnlineBenchmark.SAMPLES / (double) line.get("high"), line.toString());
  }
}
