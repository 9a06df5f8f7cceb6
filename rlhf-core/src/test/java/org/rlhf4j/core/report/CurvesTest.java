package org.rlhf4j.core.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeSet;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CurvesTest {
  @TempDir Path folder;

  @Test
  void theTableHoldsTheNumbersOfTheMetricsAsTheyAre() throws Exception {
    List<Map<String, Object>> rows = new ArrayList<>();
    rows.add(row("step", 0L, "eval_loss", 2.5));
    rows.add(row("step", 1L, "epoch", 0.1, "loss", 0.1 + 0.2, "learning_rate", 2e-5));
    rows.add(row("step", 2L, "epoch", 0.2, "loss", 1.0, "note", "a \"b\", c"));

    Curves.write(folder, "sft", rows, Console.silent());

    assertEquals(
        """
        step,eval_loss,epoch,loss,learning_rate,note
        0,2.5,,,,
        1,,0.1,0.30000000000000004,2.0E-5,
        2,,0.2,1.0,,"a ""b"", c"
        """,
        Files.readString(folder.resolve("curves.csv")));
  }

  @Test
  void theSmoothedLineStartsAtTheFirstValue() {
    // 0.4·1 / 0.4 = 1; (0.6·0.4 + 0.4·3) / (1 - 0.36) = 1.44 / 0.64 = 2.25.
    double[] smoothed = Curves.smoothed(new double[] {1, 3});
    assertEquals(1, smoothed[0], 1e-12);
    assertEquals(2.25, smoothed[1], 1e-12);
  }

  @Test
  void thePictureOfASupervisedRunIsDrawn() throws Exception {
    List<Map<String, Object>> rows = new ArrayList<>();
    Random random = new Random(1);
    rows.add(row("step", 0L, "eval_loss", 4.9, "eval_mean_token_accuracy", 0.1));
    for (long step = 10; step <= 600; step += 10) {
      double loss = 1.5 + 3.4 * Math.exp(-step / 120.0) + 0.15 * random.nextGaussian();
      rows.add(
          row(
              "step",
              step,
              "loss",
              loss,
              "grad_norm",
              0.5 + 2 * Math.exp(-step / 60.0) + 0.2 * random.nextDouble(),
              "learning_rate",
              2e-5 * 0.5 * (1 + Math.cos(Math.PI * step / 600)),
              "mean_token_accuracy",
              0.62 - 0.5 * Math.exp(-step / 150.0)));
      if (step % 100 == 0) {
        rows.add(
            row(
                "step",
                step,
                "eval_loss",
                1.6 + 3.3 * Math.exp(-step / 120.0),
                "eval_mean_token_accuracy",
                0.6 - 0.5 * Math.exp(-step / 150.0)));
      }
    }
    Curves.write(folder, "sft · tinystories-260k", rows, Console.silent());
    assertDrawn(1200);
  }

  @Test
  void thePictureOfRaftIsDrawn() throws Exception {
    List<Map<String, Object>> rows = new ArrayList<>();
    for (long step = 1; step <= 8; step++) {
      rows.add(
          row(
              "step",
              step * 10,
              "loss",
              2.0 - 0.1 * step,
              "learning_rate",
              2e-5,
              "grad_norm",
              1.0 + 0.1 / step,
              "reward/all_mean",
              0.2 * step,
              "reward/selected_mean",
              0.2 * step + 0.6,
              "reward/best_of_k",
              0.2 * step + 1.0,
              "eval_reward/all_mean",
              0.2 * step + 0.2,
              "kl/to_start",
              0.4 * step * step,
              "completions/mean_length",
              60.0 + step,
              "diversity/distinct_2",
              0.5 - 0.01 * step));
    }
    Curves.write(folder, "raft · tinystories-260k", rows, Console.silent());
    assertDrawn(1200);
  }

  @Test
  void figuresOfOneStepAloneAreDrawn() throws Exception {
    List<Map<String, Object>> rows =
        List.of(row("step", 0L, "loss", 1.0, "eval_loss", 2.0, "kl/to_start", -0.5));
    Curves.write(folder, "sft", rows, Console.silent());
    assertDrawn(1200);
  }

  @Test
  void onlyAFailureOfTheFontsLeavesThePictureOut() {
    // As Java 17 reports it where no font file is found, and later ones without fontconfig.
    Error noFonts = new Error("Probable fatal error: No physical fonts found.");
    noFonts.setStackTrace(
        new StackTraceElement[] {
          new StackTraceElement("sun.font.SunFontManager", "initFonts", "SunFontManager.java", 1)
        });
    assertTrue(Plot.comesFromFonts(noFonts));
    assertTrue(Plot.comesFromFonts(new RuntimeException("Fontconfig head is null", noFonts)));
    assertTrue(Plot.comesFromFonts(new NoClassDefFoundError("Could not initialize class")));
    assertFalse(Plot.comesFromFonts(new IllegalArgumentException("a defect of ours")));
    assertFalse(Plot.comesFromFonts(new OutOfMemoryError("Java heap space")));
  }

  @Test
  void aRunWithoutNumbersHasNoPicture() {
    Curves.write(folder, "sft", List.of(row("step", 0L)), Console.silent());
    assertTrue(Files.exists(folder.resolve("curves.csv")));
    assertFalse(Files.exists(folder.resolve("curves.png")));
  }

  private void assertDrawn(int width) throws Exception {
    BufferedImage picture = ImageIO.read(folder.resolve("curves.png").toFile());
    assertEquals(width, picture.getWidth());
    TreeSet<Integer> colours = new TreeSet<>();
    for (int y = 0; y < picture.getHeight(); y++) {
      for (int x = 0; x < width; x++) {
        colours.add(picture.getRGB(x, y) & 0xffffff);
      }
    }
    assertTrue(colours.contains(0x0072b2), "the blue line is there");
    assertTrue(colours.contains(0xd55e00), "the vermilion line is there");
  }

  private static Map<String, Object> row(Object... fields) {
    Map<String, Object> row = new LinkedHashMap<>();
    for (int i = 0; i < fields.length; i += 2) {
      row.put((String) fields[i], fields[i + 1]);
    }
    return row;
  }
}
