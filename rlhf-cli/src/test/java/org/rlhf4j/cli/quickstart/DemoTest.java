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
import java.util.Arrays;
import java.util.List;
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
  private static final Recipe LITTLE =
      new Recipe(
          32,
          24,
          2,
          new Recipe.Raft(2, 6),
          new Recipe.Ppo(4, 6, 0),
          6,
          2,
          new Recipe.Rates(1e-3, 1e-3, 3e-4, 1e-3, 1, 1));

  @TempDir private Path folder;
  private final ByteArrayOutputStream screen = new ByteArrayOutputStream();

  private RunContext context() {
    PrintStream out = new PrintStream(screen, true, StandardCharsets.UTF_8);
    return new RunContext(Console.plain(out, 120), new StopSignal(), row -> {}, List.of());
  }

  @Test
  void overOptimisationLeavesDataPictureAndFinding() throws IOException {
    OverOptimisation.Sizes sizes = new OverOptimisation.Sizes(LITTLE, 4, List.of(1, 2, 4), 2);
    new OverOptimisation(folder, sizes, List.of(11L, 12L), context()).run();
    List<String> csv = Files.readAllLines(folder.resolve("over-optimisation.csv"));
    assertEquals("method,seed,effort,kl,sqrt_kl,proxy,gold,proxy_gain,gold_gain", csv.get(0));
    // PPO after 0, 2 and 4 roll-outs, RAFT after 0 and 2 iterations, three n; two seeds.
    assertEquals(1 + 2 * (3 + 2 + 3), csv.size());
    List<String[]> rows = csv.stream().skip(1).map(line -> line.split(",")).toList();
    for (String[] row : rows) {
      assertEquals(9, row.length);
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
  void ablationsTrainEveryNetwork() throws IOException {
    new PpoAblations(folder, LITTLE, List.of(11L), context()).run(Main.class);
    List<String> csv = Files.readAllLines(folder.resolve("ppo-ablations.csv"));
    assertEquals(1 + 4, csv.size());
    // Whether the trunk is kept changes no number.
    byte[] kept = Files.readAllBytes(folder.resolve("hydra-11/model.safetensors"));
    assertArrayEquals(kept, Files.readAllBytes(folder.resolve("not-cached-11/model.safetensors")));
    assertFalse(
        Arrays.equals(kept, Files.readAllBytes(folder.resolve("full-11/model.safetensors"))));
    String shown = screen.toString(StandardCharsets.UTF_8);
    assertTrue(shown.contains("a full reference") && shown.contains("RSS MiB"), shown);
  }

  @Test
  void aFolderThatHoldsSomethingIsRefused() throws IOException {
    Files.writeString(folder.resolve("mine"), "x");
    Demo.DemoConfig config = new Demo.DemoConfig(Demo.Name.OVER_OPTIMISATION, folder, 1, 2);
    assertThrows(RlhfException.class, () -> Demo.run(config, context(), Main.class));
  }
}
