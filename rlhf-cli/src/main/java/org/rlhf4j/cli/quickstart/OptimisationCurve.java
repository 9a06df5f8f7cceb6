package org.rlhf4j.cli.quickstart;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleBiFunction;
import java.util.stream.IntStream;

/**
 * What a method reached on its way from the SFT model, for several seeds.
 *
 * <p>What is said of a curve's peak is measured, in each run, at the point where the other runs
 * have theirs: the highest of noisy numbers is too high, and in a run that did not choose it is
 * not. The runs choose for each other, so their numbers are not quite independent: of flat curves
 * that are nothing but noise up to 5 in 100 seem to fall surely with 6 seeds, and up to 7 with 12,
 * where it should be 2.5. What they have in common would make their differences from another
 * method's peak seem far surer than they are: there, each run is measured where the mean of all of
 * them is highest, too high in either method alike.
 *
 * @param method how it is called
 * @param runs one for each seed, at least two; points in the order of effort and as many in each
 */
record OptimisationCurve(String method, List<List<Point>> runs) {
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

  private int last() {
    return length() - 1;
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
  int highest() {
    return highest(-1);
  }

  /** The same without one of the runs. */
  private int highest(int without) {
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

  /** A number of each run, of its point at the other runs' peak and of its last one. */
  private double[] perRun(ToDoubleBiFunction<Point, Point> ofPeakAndLast) {
    return IntStream.range(0, runs.size())
        .mapToDouble(
            run -> {
              List<Point> points = runs.get(run);
              return ofPeakAndLast.applyAsDouble(points.get(highest(run)), points.get(last()));
            })
        .toArray();
  }

  private double[] peaks(Value value) {
    return perRun((peak, last) -> value.of(peak));
  }

  private double[] goldAtHighest() {
    int highest = highest();
    return runs.stream().mapToDouble(run -> run.get(highest).gains().gold()).toArray();
  }

  /** How far gold falls from its peak to the last point. */
  Estimate fall() {
    return Estimate.of(perRun((peak, last) -> peak.gains().gold() - last.gains().gold()));
  }

  /** How far the proxy rises from gold's peak to the last point. */
  Estimate rise() {
    return Estimate.of(perRun((peak, last) -> last.gains().proxy() - peak.gains().proxy()));
  }

  /** The gold gain at its peak. */
  Estimate peak() {
    return Estimate.of(peaks(Value.GOLD));
  }

  /** How much higher its highest point is than another method's, seed by seed. */
  Estimate lead(OptimisationCurve other) {
    double[] own = goldAtHighest();
    double[] others = other.goldAtHighest();
    return Estimate.of(
        IntStream.range(0, own.length).mapToDouble(i -> own[i] - others[i]).toArray());
  }

  /** Gold surely falls from its peak, while the proxy surely goes on rising. */
  boolean isOverOptimised() {
    return fall().isSurelyPositive() && rise().isSurelyPositive();
  }

  /** What was found, in two sentences. */
  static String finding(List<OptimisationCurve> curves) {
    List<String> over =
        curves.stream()
            .filter(OptimisationCurve::isOverOptimised)
            .map(c -> c.courseSaid())
            .toList();
    List<String> others =
        curves.stream().filter(c -> !c.isOverOptimised()).map(c -> c.courseSaid()).toList();
    String first =
        over.isEmpty()
            ? "No over-optimisation is sure: " + String.join("; ", others)
            : "Over-optimisation: "
                + String.join("; ", over)
                + (others.isEmpty() ? "" : "; not sure of others: " + String.join("; ", others));
    OptimisationCurve best =
        curves.stream().max(Comparator.comparingDouble(c -> c.peak().mean())).orElseThrow();
    StringBuilder second =
        new StringBuilder("The highest peak of gold is ")
            .append(best.peakSaid())
            .append(said(", where the proxy promises %+.2f", mean(best.peaks(Value.PROXY))));
    for (OptimisationCurve other : curves) {
      if (other != best) {
        second
            .append("; ")
            .append(other.peakSaid())
            .append(
                best.lead(other).isSurelyPositiveOfThree()
                    ? ", is surely lower"
                    : ", cannot be told from it");
      }
    }
    return "%s. %s (gains over SFT in standard deviations of its stories; %d seeds, ± standard errors over them, each seed measured at the others' peak; sure: Student's test at 5 %%, for each method's course by itself; lower: for three pairs of methods together, each where the mean of its seeds is highest)."
        .formatted(first, second, best.runs.size());
  }

  /** From peak to end, whatever it is: a fall that is not sure must not be hidden either. */
  private String courseSaid() {
    int highest = highest();
    String gold =
        highest == last()
            ? said(
                "%s's gold is highest at its end, at %.1f nats with %+.2f",
                method, kl(last()), goldGain(last()))
            : said(
                "%s's gold is highest at a KL of %.1f nats with %+.2f and ends at %.1f nats with %+.2f",
                method, kl(highest), goldGain(highest), kl(last()), goldGain(last()));
    boolean allPeakAtTheEnd =
        IntStream.range(0, runs.size()).allMatch(run -> highest(run) == last());
    if (allPeakAtTheEnd) {
      return gold + said(", where the proxy promises %+.2f", proxyGain(last()));
    }
    Estimate fall = fall();
    Estimate rise = rise();
    String proxy =
        rise.isSurelyPositive()
            ? ", while the proxy rises by " + rise.said(2)
            : rise.isSurelyNegative()
                ? ", while the proxy falls as well, by " + rise.negative().said(2)
                : ", while the proxy's rise of " + rise.said(2) + " is not sure";
    String fallen =
        fall.mean() > 0
            ? ", a fall of " + fall.said(2) + (fall.isSurelyPositive() ? "" : " that is not sure")
            : ", no fall that the seeds share (" + fall.said(2) + ")";
    return gold + fallen + proxy;
  }

  private String peakSaid() {
    return said("%s's, %s at %.1f nats", method, peak().signed(2), mean(peaks(Value.KL)));
  }

  private static double mean(double[] values) {
    return Arrays.stream(values).average().orElseThrow();
  }

  private static String said(String format, Object... arguments) {
    return String.format(Locale.ROOT, format, arguments);
  }
}
