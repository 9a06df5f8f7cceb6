package org.rlhf4j.core.report;

import java.util.Map;

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
  /** Measures now. */
  public static SystemStats now() {
    throw new UnsupportedOperationException();
  }

  /** {@code rss_mib}, {@code peak_rss_mib} and {@code heap_mib}; what is unknown is left out. */
  public Map<String, Object> metrics() {
    throw new UnsupportedOperationException();
  }
}
