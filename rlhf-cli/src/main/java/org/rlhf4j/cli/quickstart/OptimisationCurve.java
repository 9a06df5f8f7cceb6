package org.rlhf4j.cli.quickstart;

import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;

/**
 * What a method reached on its way from the SFT model, for several seeds.
 *
 * @param method how it is called
 * @param runs one for each seed, points in the order of effort and as many in each
 */
record OptimisationCurve(String method, List<List<Point>> runs) {
  /** A fall must be so many times its standard error to be one. */
  private static final double STANDARD_ERRORS = 2;

  /**
   * One policy.
   *
   * @param effort n, iterations or roll-outs
   * @param kl to the SFT model, nats per story
   * @param proxy mean score of the reward model
   * @param gold mean of the judge's reward
   * @param gains of both over SFT
   */
  record Point(int effort, double kl, double proxy, double gold, Gains gains) {
    double rootKl() {
      return Math.sqrt(Math.max(0, kl));
    }
  }

  /** Over SFT's means, in standard deviations of SFT's stories. */
  record Gains(double proxy, double gold) {}

  int length() {
    return runs.get(0).size();
  }

  double kl(int place) {
    return mean(place, Value.KL);
  }

  double rootKl(int place) {
    return mean(place, Value.ROOT_KL);
  }

  double proxyGain(int place) {
    return mean(place, Value.PROXY);
  }

  double goldGain(int place) {
    return mean(place, Value.GOLD);
  }

  private enum Value {
    KL,
    ROOT_KL,
    PROXY,
    GOLD;

    double of(Point point) {
      return switch (this) {
        case KL -> point.kl();
        case ROOT_KL -> point.rootKl();
        case PROXY -> point.gains().proxy();
        case GOLD -> point.gains().gold();
      };
    }
  }

  private double mean(int place, Value value) {
    return runs.stream().mapToDouble(run -> value.of(run.get(place))).average().orElseThrow();
  }

  /** Where the mean gold gain is highest. */
  int peak() {
    return peak(-1);
  }

  /** The same without one of the runs. */
  private int peak(int without) {
    return IntStream.range(0, length())
        .boxed()
        .max(
            Comparator.comparingDouble(
                place ->
                    IntStream.range(0, runs.size())
                        .filter(run -> run != without)
                        .mapToDouble(run -> runs.get(run).get(place).gains().gold())
                        .sum()))
        .orElseThrow();
  }

  /**
   * Mean fall of the gold gain from the peak to the last point. The peak is taken from the other
   * runs: the highest of noisy numbers is too high, and in a run that did not choose it is not.
   *
   * @param mean over the runs
   * @param standardError of the mean
   */
  record Fall(double mean, double standardError) {
    boolean isSure() {
      return mean > 0 && mean > STANDARD_ERRORS * standardError;
    }
  }

  /** The fall, for at least two runs. */
  Fall fall() {
    double[] falls = new double[runs.size()];
    for (int run = 0; run < falls.length; run++) {
      List<Point> points = runs.get(run);
      falls[run] = points.get(peak(run)).gains().gold() - points.get(length() - 1).gains().gold();
    }
    double mean = IntStream.range(0, falls.length).mapToDouble(i -> falls[i]).sum() / falls.length;
    double squares = 0;
    for (double one : falls) {
      squares += (one - mean) * (one - mean);
    }
    double variance = squares / (falls.length - 1);
    return new Fall(mean, Math.sqrt(variance / falls.length));
  }

  /** Gold surely falls from its peak while the proxy goes on rising. */
  boolean isOverOptimised() {
    return fall().isSure() && proxyGain(length() - 1) > proxyGain(peak());
  }

  /** What was found, in two sentences. */
  static String finding(List<OptimisationCurve> curves) {
    List<String> over =
        curves.stream().filter(OptimisationCurve::isOverOptimised).map(c -> c.overSaid()).toList();
    List<String> not =
        curves.stream().filter(c -> !c.isOverOptimised()).map(c -> c.notSaid()).toList();
    String first =
        over.isEmpty()
            ? "No over-optimisation was found: " + String.join("; ", not)
            : "Over-optimisation: "
                + String.join("; ", over)
                + (not.isEmpty() ? "" : "; but not of " + String.join(", nor of ", not));
    OptimisationCurve best =
        curves.stream().max(Comparator.comparingDouble(c -> c.goldGain(c.peak()))).orElseThrow();
    int peak = best.peak();
    String second =
        String.format(
            Locale.ROOT,
            "The most gold is %s's at %.1f nats: %+.2f, where the proxy promises %+.2f (gains over SFT in standard deviations of its stories, means of %d seeds)",
            best.method,
            best.kl(peak),
            best.goldGain(peak),
            best.proxyGain(peak),
            best.runs.size());
    return first + ". " + second + ".";
  }

  private String overSaid() {
    int peak = peak();
    int last = length() - 1;
    Fall fall = fall();
    return String.format(
        Locale.ROOT,
        "%s's gold reward peaks at a KL of %.1f nats with %+.2f and is down to %+.2f at %.1f nats (a fall of %.2f ± %.2f), while the proxy goes on from %+.2f to %+.2f",
        method,
        kl(peak),
        goldGain(peak),
        goldGain(last),
        kl(last),
        fall.mean(),
        fall.standardError(),
        proxyGain(peak),
        proxyGain(last));
  }

  private String notSaid() {
    int last = length() - 1;
    return String.format(
        Locale.ROOT,
        "%s up to %.1f nats (gold %+.2f, proxy %+.2f)",
        method,
        kl(last),
        goldGain(last),
        proxyGain(last));
  }
}
