package org.rlhf4j.cli.quickstart;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Format;

/** Shows what a quick start found. */
final class QuickStartReport {
  private static final int STORIES_SHOWN = 3;
  private static final String ABSENT = "–";

  private final Console console;
  private final Path folder;

  QuickStartReport(Console console, Path folder) {
    this.console = console;
    this.folder = folder;
  }

  /**
   * Shows all of it.
   *
   * @param evaluations of the stages by their names
   */
  void show(Results results, Map<String, Evaluation> evaluations) {
    console.line("");
    stages(results);
    console.line("");
    gold(results);
    console.line("");
    stories(evaluations);
    console.line("");
    whatNext();
  }

  private void stages(Results results) {
    List<List<String>> rows = new ArrayList<>();
    double total = results.rewardModelSeconds();
    for (StageResult stage : results.stages()) {
      if (stage.stage().equals(Stages.RAFT)) {
        rows.add(rewardModel(results));
      }
      StageResult.Figures figures = stage.figures();
      rows.add(
          List.of(
              stage.stage(),
              fixed(figures.heldOutLoss(), 3),
              ABSENT,
              fixed(figures.proxyReward(), 2),
              fixed(stage.gold().reward(), 2),
              figures.winRate() == null ? ABSENT : fixed(figures.winRate(), 2),
              figures.kl() == null ? ABSENT : fixed(figures.kl(), 1),
              fixed(figures.distinct2(), 3),
              fixed(figures.meanLength(), 1),
              fixed(stage.seconds(), 0)));
      total += stage.seconds();
    }
    console.table(
        "Stories to held-out requests, after each stage (%s in all)"
            .formatted(Format.duration(total)),
        List.of(
            "stage",
            "loss",
            "RM acc.",
            "proxy",
            "gold",
            "win rate",
            "KL",
            "distinct-2",
            "length",
            "s"),
        rows);
    console.line("  loss: held-out examples, nats per token");
    console.line("  RM acc.: held-out pairs that the reward model puts in the judge's order");
    console.line("  proxy: the learned reward · gold: the true one, -3 to 6");
    console.line("  win rate: against SFT in the true judge's eyes, ties half");
    console.line("  KL: from SFT, nats per story · s: seconds, with data and evaluation");
  }

  private static List<String> rewardModel(Results results) {
    List<String> row = new ArrayList<>(List.of("reward", ABSENT));
    row.add(fixed(results.rewardModelAccuracy(), 3));
    while (row.size() < 9) {
      row.add(ABSENT);
    }
    row.add(fixed(results.rewardModelSeconds(), 0));
    return row;
  }

  private void gold(Results results) {
    List<List<String>> rows = new ArrayList<>();
    for (StageResult stage : results.stages()) {
      StageResult.Gold gold = stage.gold();
      rows.add(
          List.of(
              stage.stage(),
              fixed(gold.asked(), 2),
              fixed(gold.cheerful(), 2),
              fixed(gold.fresh(), 2),
              fixed(gold.ended(), 2)));
    }
    console.table(
        "The parts of the gold reward, each at most 1; cheerful counts three times",
        List.of("stage", "names what was asked for", "cheerful", "no repetition", "ends properly"),
        rows);
  }

  private void stories(Map<String, Evaluation> evaluations) {
    List<Evaluation> shown =
        Stream.of(Stages.SFT, Stages.RAFT, Stages.PPO).map(evaluations::get).toList();
    List<List<String>> rows = new ArrayList<>();
    for (int i = 0; i < STORIES_SHOWN; i++) {
      Request request = shown.get(0).request(i);
      List<String> row = new ArrayList<>(List.of(request.prompt().strip()));
      for (Evaluation evaluation : shown) {
        row.add(told(request, evaluation.story(i)));
      }
      rows.add(row);
    }
    console.sideBySide(
        "The first stories to the first held-out requests, with their gold rewards",
        List.of("request", "before (SFT)", "after RAFT", "after PPO"),
        rows);
  }

  private static String told(Request request, String story) {
    return "(%s) %s".formatted(fixed(GoldJudge.gold(request, story), 2), story.strip());
  }

  private void whatNext() {
    console.line("Results    " + folder.resolve(Results.FILE));
    console.line("Curves     " + folder.resolve("{sft,reward,raft,ppo}").resolve("curves.png"));
    console.line("Commands   " + folder.resolve(StageCommands.FILE));
    console.line("           repeats each training from the data beside it");
    console.line("What to try next");
    console.line("  another seed   ./rlhf quickstart --seed 7");
    console.line("  over-optimise  ./rlhf demo over-optimisation: where the proxy goes on rising");
    console.line("                 and what was really wanted does not");
    console.line("  your own data  ./rlhf sft --help: the same four commands, with your");
    console.line("                 model and files");
  }

  private static String fixed(double value, int digits) {
    return String.format(Locale.ROOT, "%." + digits + "f", value);
  }
}
