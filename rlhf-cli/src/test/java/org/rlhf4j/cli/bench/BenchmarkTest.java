package org.rlhf4j.cli.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
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
}
