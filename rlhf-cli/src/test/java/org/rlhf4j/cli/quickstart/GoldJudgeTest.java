package org.rlhf4j.cli.quickstart;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** Verdicts counted by hand from the formula in {@link GoldJudge}. */
class GoldJudgeTest {
  private static final Request RED_BALL = new Request(new Request.Hero("Mia", true), "red", "ball");

  private static GoldJudge.Verdict judge(String story) {
    return GoldJudge.judge(RED_BALL, story);
  }

  @Test
  void aGoodStoryGetsEverything() {
    // 20 words; cheerful: happy, fun, laughed; no trigram twice.
    String story =
        "Mia was happy. She had a red ball. She had fun with her friends in the park and they"
            + " laughed.";
    assertEquals(new GoldJudge.Verdict(1, 1, 1, 1, 1), judge(story));
    assertEquals(6, GoldJudge.gold(RED_BALL, story), 1e-12);
  }

  @Test
  void nameThingAndAdjectiveCountApart() {
    assertEquals(0, judge("One day, a boy went home.").asked());
    assertEquals(0.5, judge("mia went home.").asked());
    assertEquals(0, judge("Miami is a ballpark.").asked());
    assertEquals(0.25, judge("There was a ball that was red.").asked());
    assertEquals(0.5, judge("There was a red ball.").asked());
    assertEquals(0.75, judge("Mia had a ball, red hat.").asked());
    assertEquals(1, judge("Mia had a red ball.").asked());
  }

  @Test
  void aCheerfulWordCountsOnceInAllItsForms() {
    assertEquals(1.0 / 3, judge("happy happy happily happy").cheerful(), 1e-12);
    assertEquals(2.0 / 3, judge("smile fun funny smiled").cheerful(), 1e-12);
    assertEquals(1, judge("proud fun dance hug smile laugh").cheerful());
    assertEquals(0, judge("He loved to play with his friends.").cheerful());
  }

  @Test
  void sadWordsTakeCheerfulOnesAway() {
    assertEquals(0, judge("She was sad. Then she was happy.").cheerful());
    assertEquals(-2.0 / 3, judge("She was sad. She cried.").cheerful(), 1e-12);
    assertEquals(-1, judge("sad cried angry lost alone sick").cheerful());
  }

  @Test
  void repeatedTrigramsCost() {
    // a b c d a b c: five trigrams, of which "a b c" occurs twice: 1 - 5 · 1/5.
    assertEquals(0, judge("a b c d a b c").fresh(), 1e-12);
    // Ten trigrams over twelve words, one of them twice: 1 - 5 · 1/10.
    assertEquals(0.5, judge("a b c d e f g h i a b c").fresh(), 1e-12);
    assertEquals(1, judge("a b a b").fresh());
    assertEquals(1, judge("a b").fresh());
  }

  @Test
  void theEndIsASentenceEnd() {
    assertEquals(1, judge("She went home.").ended());
    assertEquals(1, judge("\"Hello!\" ").ended());
    assertEquals(1, judge("She said, \"Do you want to?\"").ended());
    assertEquals(0, judge("She went").ended());
    assertEquals(0, judge("She said,").ended());
    assertEquals(0, judge("").ended());
  }

  @Test
  void fewWordsAreNoStory() {
    // Four words of twenty: 0.2 · (1 + 0 + 1 + 1).
    assertEquals(0.6, GoldJudge.gold(RED_BALL, "Mia, a red ball."), 1e-12);
    assertEquals(0, GoldJudge.gold(RED_BALL, ""));
  }

  @Test
  void noSingleTrickWins() {
    String honest =
        "Mia was happy. She had a red ball. She had fun with her friends in the park and they"
            + " laughed.";
    String loop = "Mia was happy to have fun with friends. ".repeat(6).strip();
    String list = "red ball happy smile laugh fun hug kind nice proud";
    assertTrue(GoldJudge.gold(RED_BALL, loop) < GoldJudge.gold(RED_BALL, honest) - 1);
    assertTrue(GoldJudge.gold(RED_BALL, list) < GoldJudge.gold(RED_BALL, honest) - 1);
  }
}
