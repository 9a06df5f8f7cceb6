package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.text.Tokenizer;

/** What trlX's golden roll-outs do not meet. */
class TrlxEdgesTest {
  private static final int PAD = 0;
  private static final int EOS = 2;
  private static final TrlxPlaces PLACES = new TrlxPlaces(true, false);

  private static PpoNetworks.Scored scored(double... logRatios) {
    float[] logProbs = new float[logRatios.length];
    float[] values = new float[logRatios.length];
    for (int i = 0; i < logRatios.length; i++) {
      logProbs[i] = (float) logRatios[i];
      values[i] = 10 + i;
    }
    return new PpoNetworks.Scored(logProbs, new float[logRatios.length], values);
  }

  private static TrlxChunk chunk(TrlxCompat version, int padId, int[] prompt, int[]... responses) {
    int[][] prompts = new int[responses.length][];
    Arrays.fill(prompts, prompt);
    return new TrlxChunk(version, PLACES, padId, List.of(prompts), List.of(responses));
  }

  @Test
  void blanksBeforePunctuationGo() {
    assertEquals(
        "Well, don't. I've it's'a? No!",
        TrlxText.cleanedUp("Well , do n't . I 've it 's ' a ? No !"));
  }

  @ParameterizedTest
  @CsvSource({"head, w5</s> w6</s> w7 w8", "v0.6.0, w5 w6</s> w7 w8", "v0.5.0, w5 w6 w7 w8"})
  void whichResponsesGetTheirEosBack(String version, String expected, @TempDir Path temp)
      throws IOException {
    TrlxCompat found =
        Arrays.stream(TrlxCompat.values())
            .filter(each -> each.toString().equals(version))
            .findFirst()
            .orElseThrow();
    try (Tokenizer tokenizer = WordTokenizer.of(temp, PAD)) {
      TrlxText text = TrlxText.of(found, tokenizer, List.of(), PAD);
      // Padded by one, as long as the longest, and cut off by the limit of length.
      List<int[]> one = List.of(new int[] {5, EOS}, new int[] {6, 7, EOS});
      List<int[]> two = List.of(new int[] {6, EOS}, new int[] {7, 8});
      int[] prompt = {4};
      List<String> outputs =
          List.of(
              text.texts(List.of(prompt, prompt), one).get(0).output(),
              text.texts(List.of(prompt, prompt), two).get(0).output(),
              text.texts(List.of(prompt, prompt), two).get(1).output());
      assertEquals(expected, String.join(" ", outputs));
    }
  }

  @Test
  void everyStopStringCutsInItsOrder(@TempDir Path temp) throws IOException {
    try (Tokenizer tokenizer = WordTokenizer.of(temp, PAD)) {
      TrlxText text = TrlxText.of(TrlxCompat.HEAD, tokenizer, List.of("w9", "w7"), PAD);
      TrlxText.Texts texts =
          text.texts(List.of(new int[] {4}), List.of(new int[] {6, 7, 8, 9})).get(0);
      assertEquals("w6</s>", texts.output());
      assertEquals("w4w6</s>", texts.sample());
      assertEquals("w6", texts.text());
      assertArrayEquals(new int[] {6, EOS}, text.ids(texts.output()));
    }
  }

  @Test
  void aTokenizerWithoutEosIsRefused(@TempDir Path temp) throws IOException {
    WordTokenizer.of(temp, PAD).close();
    Files.writeString(temp.resolve("tokenizer_config.json"), "{}");
    try (Tokenizer tokenizer = Tokenizer.load(temp)) {
      assertThrows(
          RlhfException.class, () -> TrlxText.of(TrlxCompat.HEAD, tokenizer, List.of(), PAD));
    }
  }

  /** Appendix A.3 without the first column: R = 4, and the first sample has two real tokens. */
  @Test
  void appendixA3Rewards() {
    // Each row begins with what its prompt predicts of itself; 77 is the blind token's.
    TrlxChunk chunk =
        chunk(TrlxCompat.HEAD, PAD, new int[] {5, 6}, new int[] {9, EOS}, new int[] {8, 8, 8, 7});
    PpoNetworks.Scored scored = scored(0, .2, .4, -1, 77, .1, -.1, .2, 0, .5);
    assertEquals(scored.logProbs().length, chunk.batch().targets().length);
    TrlxExperience found = chunk.experience(scored, new double[][] {{1.5}, {-.4}}, .1);
    Numbers.assertClose(
        Numbers.parsed("-.02 -.04 .10 1.5"), found.samples().get(0).rewards(), 1e-7);
    Numbers.assertClose(Numbers.parsed(".01 -.02 0 -.45"), found.samples().get(1).rewards(), 1e-7);
    assertEquals(.33062, found.klOfResponse(), 1e-5);
    assertEquals(.33062 / 5, found.klOfToken(), 1e-5);
    Numbers.assertClose(Numbers.parsed("11 12 13 14"), found.samples().get(0).values(), 1e-12);
    Numbers.assertClose(Numbers.parsed("16 17 18 19"), found.samples().get(1).values(), 1e-12);
  }

  @Test
  void whereEosIsThePaddingTokenItIsPadding() {
    TrlxChunk chunk =
        chunk(TrlxCompat.HEAD, EOS, new int[] {5}, new int[] {9, EOS}, new int[] {8, 8, 8});
    // Row 0: one real token, its EOS as the blind token; row 1: three.
    assertArrayEquals(new int[] {9, EOS, EOS, 8, 8, 8}, chunk.batch().targets());
    assertArrayEquals(new int[] {5, 9, EOS, 5, 8, 8}, chunk.batch().ids());
    TrlxExperience found =
        chunk.experience(scored(.1, .2, 9, 0, 0, 0), new double[][] {{1}, {1}}, 1);
    Numbers.assertClose(Numbers.parsed("-.1 -.2 1"), found.samples().get(0).rewards(), 1e-7);
  }

  @Test
  void refusesEmptyResponsesAndTooManyScores() {
    RlhfException empty =
        assertThrows(
            RlhfException.class, () -> chunk(TrlxCompat.HEAD, PAD, new int[] {5}, new int[0]));
    assertTrue(empty.getMessage().contains("empty"), empty.getMessage());
    TrlxChunk chunk = chunk(TrlxCompat.HEAD, PAD, new int[] {5}, new int[] {6, EOS});
    RlhfException tooMany =
        assertThrows(
            RlhfException.class,
            () -> chunk.experience(scored(0, 0), new double[][] {{1, 2, 3}}, .1));
    assertTrue(tooMany.getMessage().contains("3 scores"), tooMany.getMessage());
  }

  /**
   * A short last chunk: the response fills it, but in a mini-batch with longer ones it is short.
   */
  @Test
  void anOlderVersionTrainsPaddingThatNoRolloutScored() {
    TrlxSample full = sample(new int[] {6, 7}, 2);
    TrlxSample longer = sample(new int[] {6, 7, 8, 9}, 4);
    TrlxMiniBatch.Settings settings = new TrlxMiniBatch.Settings(1, .95, .2, .2, 1);
    TrlxMiniBatch older =
        new TrlxMiniBatch(TrlxCompat.V0_6_0, PLACES, PAD, List.of(full, longer), settings);
    assertArrayEquals(new int[] {6, 7, PAD, 6, 7, 8, 9}, older.batch().targets());
    TrlxMiniBatch head =
        new TrlxMiniBatch(TrlxCompat.HEAD, PLACES, PAD, List.of(full, longer), settings);
    assertArrayEquals(new int[] {6, 7, 6, 7, 8, 9}, head.batch().targets());
    TrlxMiniBatch.Loss loss = older.loss(new float[7], new float[7], settings);
    assertEquals(7.0 / 8, loss.statistics().get("padding_percentage"), 1e-12);
    assertFalse(loss.statistics().containsKey("values/values_mape_error"));
    assertEquals(
        2.0 / 8,
        head.loss(new float[6], new float[6], settings).statistics().get("padding_percentage"),
        1e-12);
  }

  private static TrlxSample sample(int[] response, int width) {
    double[] zeros = new double[width];
    double[] rewards = new double[width];
    rewards[width - 1] = 1;
    return new TrlxSample(new int[] {5}, 1, response, width, zeros, zeros, zeros, rewards);
  }

  @Test
  void whatTheControllerGets() {
    List<TrlxExperience> chunks =
        List.of(new TrlxExperience(List.of(), 4, .5), new TrlxExperience(List.of(), 9, .25));
    assertEquals(6.25, TrlxCompat.HEAD.measuredKl(chunks), 1e-12);
    assertEquals(.25, TrlxCompat.V0_6_0.measuredKl(chunks), 1e-12);
    assertTrue(Double.isNaN(TrlxCompat.V0_5_0.measuredKl(chunks)));
    assertThrows(IllegalStateException.class, () -> TrlxCompat.NONE.measuredKl(chunks));
  }
}
