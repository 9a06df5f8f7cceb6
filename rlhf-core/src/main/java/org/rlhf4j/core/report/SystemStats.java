package org.rlhf4j.core.report;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.RlhfException;

/**
 * Memory of this process. Tensors live outside the Java heap, so the resident set is the figure
 * that shows a leak.
 *
 * @param residentBytes memory held now, or null where the operating system does not tell (it is
 *     read from {@code /proc/self/status})
 * @param peakResidentBytes the most held so far, or null likewise
 * @param usedHeapBytes used Java heap
 */
public record SystemStats(Long residentBytes, Long peakResidentBytes, long usedHeapBytes) {
  private static final Path STATUS = Path.of("/proc/self/status");
  private static final double MIB = 1024 * 1024;

  /** Measures now. */
  public static SystemStats now() {
    Runtime runtime = Runtime.getRuntime();
    long heap = runtime.totalMemory() - runtime.freeMemory();
    if (!Files.isReadable(STATUS)) {
      return new SystemStats(null, null, heap);
    }
    try {
      List<String> status = Files.readAllLines(STATUS);
      return new SystemStats(bytesOf(status, "VmRSS:"), bytesOf(status, "VmHWM:"), heap);
    } catch (IOException e) {
      throw RlhfException.environment("cannot read " + STATUS + ": " + ReportFiles.reason(e), e);
    }
  }

  /** {@code rss_mib}, {@code peak_rss_mib} and {@code heap_mib}; what is unknown is left out. */
  public Map<String, Object> metrics() {
    Map<String, Object> metrics = new LinkedHashMap<>();
    if (residentBytes != null) {
      metrics.put(MetricNames.RSS_MIB, residentBytes / MIB);
    }
    if (peakResidentBytes != null) {
      metrics.put(MetricNames.PEAK_RSS_MIB, peakResidentBytes / MIB);
    }
    metrics.put(MetricNames.HEAP_MIB, usedHeapBytes / MIB);
    return metrics;
  }

  /** The figure of a line as {@code VmRSS: 123456 kB}, or null where there is no such line. */
  static Long bytesOf(List<String> status, String key) {
    for (String line : status) {
      if (line.startsWith(key)) {
        return 1024 * Long.parseLong(line.replaceAll("\\D", ""));
      }
    }
    return null;
  }
}
