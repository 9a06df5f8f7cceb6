package org.rlhf4j.cli.quickstart;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.cli.Main;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;

/** The demos with little of everything. */
class DemoTest {
  private static Recipe little(int rollouts) {
    return new Recipe(
        32,
        24,
        2,
        new Recipe.Raft(1, 6),
        new Recipe.Ppo(rollouts, 6, 0),
        6,
        2,
        new Recipe.Rates(1e-3, 1e-3, 3e-4, 1e-3, 1, 1));
  }

  @TempDir private Path folder;
  private final ByteArrayOutputStream screen = new ByteArrayOutputStream();

  private RunContext context() {
    PrintStream out = new PrintStream(screen, true, StandardCharsets.UTF_8);
    return new RunContext(Console.plain(out, 120), new StopSignal(), row -> {}, List.of());
  }

  @Test
  void overOptimisationLeavesDataPictureAndFinding() throws IOException {
    OverOptimisation.Sizes sizes = new OverOptimisation.Sizes(little(2), 4, List.of(1, 2, 4), 1);
    new OverOptimisation(folder, sizes, List.of(11L, 12L), context()).run();
    List<String[]> rows = rows("over-optimisation.csv");
    // PPO after 0 to 2 roll-outs, RAFT after 0 and 1 iterations, three n; two seeds.
    assertEquals(2 * (3 + 2 + 3), rows.size());
    for (String[] row : rows) {
      double kl = Double.parseDouble(row[3]);
      assertEquals(Math.sqrt(Math.max(0, kl)), Double.parseDouble(row[4]), 1e-12);
      if (row[2].equals("0") || row[0].equals("best-of-n") && row[2].equals("1")) {
        assertEquals(0, kl);
        assertEquals(0, Double.parseDouble(row[7]), 1e-9);
        assertEquals(0, Double.parseDouble(row[8]), 1e-9);
      }
    }
    List<Double> best =
        rows.stream()
            .filter(row -> row[0].equals("best-of-n") && row[1].equals("11"))
            .map(row -> Double.parseDouble(row[5]))
            .toList();
    assertTrue(best.get(0) < best.get(1) && best.get(1) < best.get(2), best.toString());
    String finding = Files.readString(folder.resolve("finding.txt")).strip();
    assertTrue(screen.toString(StandardCharsets.UTF_8).contains(finding.substring(0, 40)));
    assertTrue(ImageIO.read(folder.resolve("over-optimisation.png").toFile()).getWidth() > 500);
  }

  @Test
  void ablationsLearnAndCost() throws IOException {
    NetworkCosts.Sizes larger = new NetworkCosts.Sizes(new RandomModel.Size(3, 32), 2, 2, 1);
    new PpoAblations(folder, little(1), larger, List.of(11L, 12L), context()).run(FirstOnly.class);
    List<String[]> learned = rows("ppo-ablations.csv");
    assertEquals(6 * 2, learned.size());
    String keys = Files.readString(folder.resolve("apart-11/config.yaml"));
    assertTrue(keys.contains("\nshare_trunk: false\n"), keys);
    // With the same layers trained, two models learn what they learn on one trunk.
    for (int run = 0; run < 2; run++) {
      for (int column = 2; column < 5; column++) {
        double expected = Double.parseDouble(learned.get(run)[column]);
        assertEquals(expected, Double.parseDouble(learned.get(2 + run)[column]), 1e-3);
      }
      assertEquals("apart", learned.get(2 + run)[0]);
    }
    // Whether the trunk is kept changes no number; all other networks learn something else.
    byte[] kept = model("hydra");
    assertArrayEquals(kept, model("not-cached"));
    byte[] policy = model("policy-branch");
    byte[] reference = model("reference-branch");
    for (byte[] other : List.of(model("full"), policy, reference)) {
      assertFalse(Arrays.equals(kept, other));
    }
    assertFalse(Arrays.equals(policy, reference));
    // One roll-out of each is counted.
    List<String[]> costs = rows("ppo-ablations-costs.csv");
    assertEquals(6, costs.size());
    for (String[] row : costs) {
      assertTrue(Double.parseDouble(row[2]) > 0 && Double.parseDouble(row[4]) > 0, row[0]);
    }
    String shown = screen.toString(StandardCharsets.UTF_8);
    double first = Double.parseDouble(learned.get(4)[2]) - Double.parseDouble(learned.get(0)[2]);
    double second = Double.parseDouble(learned.get(5)[2]) - Double.parseDouble(learned.get(1)[2]);
    String paired =
        String.format(
            Locale.ROOT, "%+.2f ± %.2f", (first + second) / 2, Math.abs(first - second) / 2);
    assertTrue(
        shown.matches("(?s).*layers trained, full reference +" + Pattern.quote(paired) + " .*"),
        shown);
    // Student's t for two seeds.
    double middle = (first + second) / 2;
    double half = 12.706 * Math.abs(first - second) / 2;
    String interval = String.format(Locale.ROOT, "%+.2f to %+.2f", middle - half, middle + half);
    assertTrue(
        shown.matches(
            "(?s).*full reference, not the upper 2 +\\S+ +" + Pattern.quote(interval) + " .*"),
        shown);
    assertTrue(
        shown.matches("(?s).*the trunk not cached +\\+0\\.00 +\\+0\\.00 to \\+0\\.00 .*"), shown);
  }

  @Test
  void whatSharingDoesIsSaid() {
    List<PpoAblations.Learned> hydra =
        List.of(new PpoAblations.Learned(1, 3, 1, 10), new PpoAblations.Learned(2, 2, 1, 12));
    List<PpoAblations.Learned> apart =
        List.of(new PpoAblations.Learned(1, 3, 1.25, 10), new PpoAblations.Learned(2, 2.5, 1, 11));
    assertEquals(
        "hydra: gold, proxy and KL are at most 0.5, 0.25 and 1 from those of models apart in any"
            + " seed; 0.40 times as long, -150 MiB",
        PpoAblations.sharing(hydra, apart, cost(1, 0.5, 0.5, 100), cost(1, 1, 3, 250)));
  }

  private static NetworkCosts.Cost cost(double sample, double score, double update, double mib) {
    NetworkCosts.Seconds seconds = new NetworkCosts.Seconds(sample, score, update);
    return new NetworkCosts.Cost(List.of(new NetworkCosts.Measured(List.of(seconds), mib)));
  }

  /** A command line that trains the first variant, and checks the others' keys. */
  static final class FirstOnly {
    private FirstOnly() {}

    public static void main(String[] words) throws IOException {
      List<String> command = new ArrayList<>(List.of(words));
      Path output = Path.of(command.get(command.indexOf("--output_dir") + 1));
      if (!output.endsWith("random-hydra-1")) {
        Files.createDirectory(output);
        String rollout = "{\"timing_s/sample\": 1, \"timing_s/score\": 2}\n";
        String update = "{\"timing_s/update\": 3, \"peak_rss_mib\": 4}\n";
        Files.writeString(output.resolve("metrics.jsonl"), (rollout + update).repeat(2));
        command.set(command.indexOf("--output_dir") + 1, output + "-not-run");
        command.add(0, "validate");
      }
      Main.main(command.toArray(String[]::new));
    }
  }

  /** Below the header, which names as many columns. */
  private List<String[]> rows(String file) throws IOException {
    List<String[]> lines =
        Files.readAllLines(folder.resolve(file)).stream().map(line -> line.split(",")).toList();
    lines.forEach(row -> assertEquals(lines.get(0).length, row.length));
    return lines.subList(1, lines.size());
  }

  private byte[] model(String variant) throws IOException {
    return Files.readAllBytes(folder.resolve(variant + "-11/model.safetensors"));
  }

  @Test
  void aFolderThatHoldsSomethingIsRefused() throws IOException {
    Files.writeString(folder.resolve("mine"), "x");
    Demo.DemoConfig config = new Demo.DemoConfig(Demo.Name.OVER_OPTIMISATION, folder, 1, null);
    assertThrows(RlhfException.class, () -> Demo.run(config, context(), Main.class));
  }
}
