package org.rlhf4j.core.report;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * One phase of work on the {@link Console}: how far, how fast, how long still. Nothing is shown for
 * a phase of less than two seconds. What is done {@linkplain Console#aside aside} takes no time.
 */
public final class Progress implements AutoCloseable {
  private static final double SHORTEST_SHOWN_S = 2;
  private static final double REDRAW_S = 0.1;
  private static final double PLAIN_LINE_S = 5;
  private static final int NUMBERS_SHOWN = 3;
  private static final int BAR_COLUMNS = 20;

  private final Console console;
  private final String phase;
  private final long total;
  private final String unit;
  private final Map<String, Double> numbers = new LinkedHashMap<>();
  private long startNanos;
  private long stoppedNanos;
  private boolean stopped;
  private long resumedAt;
  private long done;
  private boolean shown;
  private double lastShown;

  Progress(Console console, String phase, long total, String unit) {
    this.console = console;
    this.phase = phase;
    this.total = total;
    this.unit = unit;
    this.startNanos = console.nanoTime();
  }

  /** Counts units that an earlier run did: they are done, but not part of the rate. */
  public Progress resumeAt(long units) {
    synchronized (console) {
      resumedAt = units;
      done = units;
      return this;
    }
  }

  /** Work done since the last call. */
  public void advance(long units) {
    synchronized (console) {
      done += units;
      double elapsed = elapsed();
      double expected = elapsed * (total - resumedAt) / Math.max(1, done - resumedAt);
      double pause = console.isTerminal() ? REDRAW_S : PLAIN_LINE_S;
      boolean tooEarly = elapsed < SHORTEST_SHOWN_S / 4 && !shown;
      boolean worthShowing = expected >= SHORTEST_SHOWN_S && !tooEarly;
      // The line of close() follows at once on the last unit.
      if (!worthShowing || elapsed - lastShown < pause || done == total) {
        return;
      }
      shown = true;
      lastShown = elapsed;
      if (console.isTerminal()) {
        console.drawBar(this);
      } else {
        console.line(plainLine());
      }
    }
  }

  /** Sets a number to show beside the bar; the first three names that were set are shown. */
  public void number(String name, double value) {
    synchronized (console) {
      numbers.put(name, value);
    }
  }

  /** Ends the phase, with one line of its length and rate where it was worth showing. */
  @Override
  public void close() {
    synchronized (console) {
      console.end(this);
      double elapsed = elapsed();
      if (shown || elapsed >= SHORTEST_SHOWN_S) {
        List<String> parts = new ArrayList<>();
        parts.add(
            Format.count(done)
                + (done == total ? "" : " of " + Format.count(total))
                + " "
                + unit
                + " in "
                + Format.duration(elapsed));
        parts.add(rate());
        parts.addAll(shownNumbers());
        console.line(phase + ": " + String.join(" · ", parts));
      }
    }
  }

  /** {@code train 42 % ████████░░░░░░░░░░░░ 84/200 steps · 3.1 steps/s · 37 s left · loss 2.31}. */
  String barLine() {
    double share = total == 0 ? 1 : Math.min(1, (double) done / total);
    int filled = (int) (share * BAR_COLUMNS);
    return String.format(Locale.ROOT, "%s %3d %% ", phase, (int) (100 * share))
        + "█".repeat(filled)
        + "░".repeat(BAR_COLUMNS - filled)
        + " "
        + state();
  }

  private String plainLine() {
    long percent = total == 0 ? 100 : 100 * done / total;
    return phase + " " + percent + " %: " + state();
  }

  private String state() {
    List<String> parts = new ArrayList<>();
    parts.add(Format.count(done) + "/" + Format.count(total) + " " + unit);
    parts.add(rate());
    if (done > resumedAt) {
      double left = elapsed() * Math.max(0, total - done) / (done - resumedAt);
      parts.add(Format.duration(left) + " left");
    }
    parts.addAll(shownNumbers());
    return String.join(" · ", parts);
  }

  private String rate() {
    double elapsed = elapsed();
    return Format.number(elapsed == 0 ? 0 : (done - resumedAt) / elapsed) + " " + unit + "/s";
  }

  private List<String> shownNumbers() {
    return numbers.entrySet().stream()
        .limit(NUMBERS_SHOWN)
        .map(number -> number.getKey() + " " + Format.number(number.getValue()))
        .toList();
  }

  /** Stops the clock; says whether it ran. */
  boolean stop() {
    if (stopped) {
      return false;
    }
    stopped = true;
    stoppedNanos = console.nanoTime();
    return true;
  }

  /** Lets the clock go on from where it was stopped. */
  void goOn() {
    stopped = false;
    startNanos += console.nanoTime() - stoppedNanos;
  }

  private double elapsed() {
    return ((stopped ? stoppedNanos : console.nanoTime()) - startNanos) * 1e-9;
  }
}
