package org.rlhf4j.core.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.testing.TestTokenizers;
import org.rlhf4j.core.text.Message;
import org.rlhf4j.core.text.Template;
import org.rlhf4j.core.text.Tokenizer;

/** Ids and targets by hand, on a tokenizer in which a byte is a token. */
class RowEncoderTest {
  private static final int BOS = TestTokenizers.BOS;
  private static final int EOS = TestTokenizers.EOS;
  private static final RowOrigin ORIGIN = new RowOrigin(Path.of("data.jsonl"), 7, 6);

  @TempDir Path folder;
  private Tokenizer tokenizer;

  @BeforeEach
  void open() throws IOException {
    tokenizer = Tokenizer.load(TestTokenizers.bytes(folder));
  }

  @AfterEach
  void close() {
    tokenizer.close();
  }

  @Test
  void allOfATextIsTarget() {
    TokenRow row = row(encoder(Template.MODEL, true), new Example.Text(ORIGIN, "ab"));
    assertArrayEquals(new int[] {BOS, 'a', 'b', EOS}, row.ids());
    assertArrayEquals(new boolean[] {false, true, true, true}, row.targets());
  }

  @Test
  void onlyTheCompletionIsTarget() {
    Example example = new Example.Completion(ORIGIN, "ab", "cd");
    TokenRow row = row(encoder(Template.MODEL, true), example);
    assertArrayEquals(new int[] {BOS, 'a', 'b', 'c', 'd', EOS}, row.ids());
    assertArrayEquals(new boolean[] {false, false, false, true, true, true}, row.targets());
    row = row(encoder(Template.MODEL, false), example);
    assertArrayEquals(new int[] {BOS, 'a', 'b', 'c', 'd'}, row.ids());
    RowEncoder everything =
        new RowEncoder(
            tokenizer,
            259,
            new RowEncoder.Options(Template.MODEL, 99, Overlong.ERROR, false, false));
    assertArrayEquals(
        new boolean[] {false, true, true, true, true}, row(everything, example).targets());
  }

  @Test
  void endTokenTypedByAUserIsText() {
    TokenRow row = row(encoder(Template.MODEL, true), new Example.Text(ORIGIN, "</s>"));
    assertArrayEquals(new int[] {BOS, '<', '/', 's', '>', EOS}, row.ids());
  }

  @Test
  void assistantsWordsAndEndTokensAreTargets() {
    Example example =
        new Example.Conversation(
            ORIGIN, List.of(system("S"), user("U"), assistant("A"), user("V"), assistant("</s>")));
    TokenRow row = row(encoder(Template.VICUNA, true), example);
    // S USER: U ASSISTANT: A</s>USER: V ASSISTANT: </s></s>, the first </s> of the last three typed
    String marked = "S USER: U ASSISTANT: «AE»USER: V ASSISTANT: «</s>E»";
    checkMarked(marked, row);
  }

  @Test
  void zephyrEndsWithoutASecondEndToken() {
    Example example = new Example.Conversation(ORIGIN, List.of(user("U"), assistant("A")));
    checkMarked(
        "<|system|>\nE\n<|user|>\nUE\n<|assistant|>\n«AE»\n",
        row(encoder(Template.ZEPHYR, true), example));
    checkMarked("\n\nHuman: U\n\nAssistant: «AE»", row(encoder(Template.HH, true), example));
    checkMarked("\n\nHuman: U\n\nAssistant: «A»", row(encoder(Template.HH, false), example));
  }

  @Test
  void dialoguesSplitAtTheLastAnswer() {
    String chosen = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d";
    Example example = new Example.Dialogues(ORIGIN, chosen, chosen + "!", 0.25);
    TokenPair pair = pair(encoder(Template.MODEL, false), example);
    checkMarked("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:« d»", pair.chosen());
    checkMarked("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:« d!»", pair.rejected());
    assertEquals(0.25, pair.margin());
    pair = pair(encoder(Template.HH_HASH, true), example);
    checkMarked("###Human: a###Assistant: b###Human: c###Assistant:« dE»", pair.chosen());
    // A language model is trained on the chosen side.
    checkMarked(
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:« d»",
        row(encoder(Template.MODEL, false), example));
  }

  @Test
  void answersFollowTheirPrompt() {
    TokenPair pair =
        pair(encoder(Template.MODEL, false), new Example.Preference(ORIGIN, "p", "c", "rr", 1));
    checkMarked("p«c»", pair.chosen());
    checkMarked("p«rr»", pair.rejected());
  }

  @Test
  void promptsEndWhereTheAnswerBegins() {
    RowEncoder vicuna = encoder(Template.VICUNA, true);
    List<Message> asked = List.of(system("S"), user("U"));
    List<Message> answered = List.of(system("S"), user("U"), assistant("A"));
    for (List<Message> messages : List.of(asked, answered)) {
      PromptRow prompt = prompt(vicuna, new Example.Conversation(ORIGIN, messages));
      assertEquals("S USER: U ASSISTANT:", prompt.text());
      assertEquals(6, prompt.index());
      assertEquals(1 + prompt.text().length(), prompt.ids().length);
    }
    assertEquals("p", prompt(vicuna, new Example.Prompt(ORIGIN, "p")).text());
    assertEquals("p", prompt(vicuna, new Example.Completion(ORIGIN, "p", "c")).text());
    String dialogue = "\n\nHuman: a\n\nAssistant: b";
    Example pair = new Example.Dialogues(ORIGIN, dialogue, dialogue, 0);
    assertEquals("\n\nHuman: a\n\nAssistant:", prompt(vicuna, pair).text());
    assertEquals("###Human: a###Assistant:", prompt(encoder(Template.HH_HASH, false), pair).text());
    Example ids = new Example.Tokens(ORIGIN, TokenRow.allTargets(new int[] {1, 2}));
    assertArrayEquals(
        new int[] {1, 2}, prompt(new RowEncoder(null, 9, vicuna.options()), ids).ids());
    assertTrue(reason(vicuna.encodePrompt(new Example.Text(ORIGIN, "t"))).contains("no prompt"));
  }

  @Test
  void overlongRowsAreCutDroppedOrAnError() {
    Example example = new Example.Completion(ORIGIN, "ab", "cd");
    RowEncoder.Options cut =
        new RowEncoder.Options(Template.MODEL, 4, Overlong.TRUNCATE, true, true);
    Encoded.Kept<TokenRow> kept =
        assertInstanceOf(
            Encoded.Kept.class, new RowEncoder(tokenizer, 259, cut).encodeRow(example));
    assertTrue(kept.truncated());
    assertEquals(6, kept.length());
    checkMarked("ab«c»", kept.value());
    RowEncoder.Options noTarget =
        new RowEncoder.Options(Template.MODEL, 3, Overlong.TRUNCATE, true, true);
    assertEquals(
        new Encoded.Dropped<TokenRow>(RowEncoder.TARGETS_CUT_OFF, 6),
        new RowEncoder(tokenizer, 259, noTarget).encodeRow(example));
    RowEncoder.Options drop = new RowEncoder.Options(Template.MODEL, 5, Overlong.DROP, true, true);
    assertEquals(
        new Encoded.Dropped<TokenRow>(RowEncoder.TOO_LONG, 6),
        new RowEncoder(tokenizer, 259, drop).encodeRow(example));
    assertEquals(
        new Encoded.Dropped<TokenPair>(RowEncoder.TOO_LONG, 6),
        new RowEncoder(tokenizer, 259, drop)
            .encodePair(new Example.Preference(ORIGIN, "ab", "c", "cd", 0)));
    RowEncoder.Options fits = new RowEncoder.Options(Template.MODEL, 6, Overlong.ERROR, true, true);
    assertFalse(
        assertInstanceOf(
                Encoded.Kept.class, new RowEncoder(tokenizer, 259, fits).encodeRow(example))
            .truncated());
    RowEncoder.Options error =
        new RowEncoder.Options(Template.MODEL, 5, Overlong.ERROR, true, true);
    RlhfException e =
        assertThrows(
            RlhfException.class, () -> new RowEncoder(tokenizer, 259, error).encodeRow(example));
    assertEquals("data.jsonl:7: 6 tokens, but max_length is 5 (overlong: error)", e.getMessage());
    assertEquals(ExitCode.INPUT, e.exitCode());
  }

  @Test
  void equalSidesAreDropped() {
    assertEquals(
        new Encoded.Dropped<TokenPair>(RowEncoder.EQUAL_SIDES, 3),
        encoder(Template.MODEL, false)
            .encodePair(new Example.Preference(ORIGIN, "p", "c", "c", 0)));
  }

  @Test
  void rowsThatTeachNothingAreBad() {
    RowEncoder encoder = encoder(Template.VICUNA, false);
    assertTrue(reason(encoder.encodeRow(new Example.Prompt(ORIGIN, "p"))).contains("nothing to"));
    assertTrue(
        reason(encoder.encodeRow(new Example.Conversation(ORIGIN, List.of(user("U")))))
            .contains("no token to predict"));
    assertTrue(
        reason(encoder.encodeRow(new Example.Conversation(ORIGIN, List.of(assistant("A")))))
            .contains("turn 1 is assistant"));
    assertTrue(
        reason(encoder.encodeRow(new Example.Tokens(ORIGIN, TokenRow.allTargets(new int[] {5}))))
            .contains("no token to predict"));
    assertTrue(reason(encoder.encodePair(new Example.Text(ORIGIN, "t"))).contains("not a pair"));
    assertTrue(
        reason(encoder.encodePair(new Example.Dialogues(ORIGIN, "a", "b", 0)))
            .contains("to split at"));
    assertTrue(
        reason(encoder(Template.HH_HASH, false).encodeRow(new Example.Text(ORIGIN, "a")))
            .contains("hh-hash"));
  }

  @Test
  void aRewardModelReadsDocumentsWithoutTargets() {
    RowEncoder encoder = encoder(Template.VICUNA, false);
    for (Example example :
        List.of(
            new Example.Prompt(ORIGIN, "p"),
            new Example.Tokens(ORIGIN, TokenRow.allTargets(new int[] {5})),
            new Example.Conversation(ORIGIN, List.of(system("S"), user("U"))))) {
      Encoded<ScoreRow> found = encoder.encodeForScoring(example, false);
      ScoreRow.Single single =
          assertInstanceOf(
              ScoreRow.Single.class, assertInstanceOf(Encoded.Kept.class, found).value());
      assertEquals(0, single.row().targetCount());
    }
  }

  @Test
  void idsOutsideTheVocabularyAreBad() {
    RowEncoder encoder = new RowEncoder(null, 10, encoder(Template.MODEL, true).options());
    for (int id : new int[] {10, -1}) {
      Example example = new Example.Tokens(ORIGIN, TokenRow.allTargets(new int[] {9, id}));
      assertEquals(
          "token id " + id + " at position 1 is outside the vocabulary of 10; allowed: 0 to 9",
          reason(encoder.encodeRow(example)));
      assertTrue(reason(encoder.encodePrompt(example)).contains("outside"));
    }
    TokenRow row = row(encoder, new Example.Tokens(ORIGIN, TokenRow.allTargets(new int[] {9, 0})));
    assertArrayEquals(new int[] {9, 0}, row.ids());
  }

  @Test
  void textNeedsATokenizerAndMessagesATemplate() {
    RowEncoder bare = new RowEncoder(null, 259, encoder(Template.VICUNA, true).options());
    RlhfException e =
        assertThrows(RlhfException.class, () -> bare.encodeRow(new Example.Text(ORIGIN, "a")));
    assertEquals(ExitCode.INPUT, e.exitCode());
    assertTrue(e.getMessage().startsWith("data.jsonl:7: "), e.getMessage());
    Example messages = new Example.Conversation(ORIGIN, List.of(user("U"), assistant("A")));
    for (Template template : List.of(Template.MODEL, Template.NONE)) {
      e = assertThrows(RlhfException.class, () -> encoder(template, true).encodeRow(messages));
      assertEquals(ExitCode.CONFIG, e.exitCode());
      assertTrue(e.getMessage().contains("vicuna"), e.getMessage());
    }
  }

  /** The toy conversation of FastChat's masking: 14 tokens, targets are the answers with </s>. */
  @Test
  void masksWholeWordsAsFastChat() throws IOException {
    Path words =
        TestTokenizers.words(
            folder.resolve("words"),
            "SYS.",
            "USER:",
            "ASSISTANT:",
            "Hi",
            "there",
            "Hello",
            "you!",
            "Bye",
            "Ciao");
    try (Tokenizer toy = Tokenizer.load(words)) {
      RowEncoder encoder =
          new RowEncoder(toy, toy.vocabularySize(), encoder(Template.VICUNA, true).options());
      TokenRow row =
          row(
              encoder,
              new Example.Conversation(
                  ORIGIN,
                  List.of(
                      system("SYS."),
                      user("Hi there"),
                      assistant("Hello you!"),
                      user("Bye"),
                      assistant("Ciao"))));
      assertArrayEquals(new int[] {0, 3, 4, 6, 7, 5, 8, 9, 1, 4, 10, 5, 11, 1}, row.ids());
      boolean[] targets = new boolean[14];
      for (int target : new int[] {6, 7, 8, 12, 13}) {
        targets[target] = true;
      }
      assertArrayEquals(targets, row.targets());
    }
  }

  @Test
  void aTokenAcrossTheBorderIsATargetAndReported() {
    try (Tokenizer stories = Tokenizer.load(Shared.path("models/tinystories-260k"))) {
      RowEncoder encoder = new RowEncoder(stories, 512, encoder(Template.MODEL, false).options());
      Encoded.Kept<TokenRow> clean =
          assertInstanceOf(
              Encoded.Kept.class,
              encoder.encodeRow(new Example.Completion(ORIGIN, "Once upon", " a time")));
      assertFalse(clean.prefixMismatch());
      assertEquals("a time", decodeTargets(stories, clean.value()));
      Encoded.Kept<TokenRow> split =
          assertInstanceOf(
              Encoded.Kept.class,
              encoder.encodeRow(new Example.Completion(ORIGIN, "Once upon ", "a time")));
      assertTrue(split.prefixMismatch());
      assertArrayEquals(clean.value().ids(), split.value().ids());
      assertArrayEquals(clean.value().targets(), split.value().targets());
    }
  }

  private static String decodeTargets(Tokenizer tokenizer, TokenRow row) {
    int[] ids = new int[row.targetCount()];
    int next = 0;
    for (int i = 0; i < row.length(); i++) {
      if (row.targets()[i]) {
        ids[next++] = row.ids()[i];
      }
    }
    return tokenizer.decode(ids);
  }

  private RowEncoder encoder(Template template, boolean appendEos) {
    return new RowEncoder(
        tokenizer, 259, new RowEncoder.Options(template, 999, Overlong.ERROR, appendEos, true));
  }

  private static TokenRow row(RowEncoder encoder, Example example) {
    return (TokenRow) assertInstanceOf(Encoded.Kept.class, encoder.encodeRow(example)).value();
  }

  private static TokenPair pair(RowEncoder encoder, Example example) {
    return (TokenPair) assertInstanceOf(Encoded.Kept.class, encoder.encodePair(example)).value();
  }

  private static PromptRow prompt(RowEncoder encoder, Example example) {
    return (PromptRow) assertInstanceOf(Encoded.Kept.class, encoder.encodePrompt(example)).value();
  }

  private static String reason(Encoded<?> encoded) {
    return assertInstanceOf(Encoded.Bad.class, encoded).reason();
  }

  /** Compares with ASCII text behind BOS in which targets stand in «…» and E is the end token. */
  private static void checkMarked(String marked, TokenRow row) {
    StringBuilder actual = new StringBuilder();
    assertEquals(BOS, row.ids()[0]);
    for (int i = 1; i < row.length(); i++) {
      if (row.targets()[i] && !row.targets()[i - 1]) {
        actual.append('«');
      }
      if (!row.targets()[i] && row.targets()[i - 1]) {
        actual.append('»');
      }
      actual.append(row.ids()[i] == EOS ? 'E' : (char) row.ids()[i]);
    }
    actual.append(row.targets()[row.length() - 1] ? "»" : "");
    assertEquals(marked, actual.toString());
  }

  private static Message system(String content) {
    return new Message(Message.Role.SYSTEM, content);
  }

  private static Message user(String content) {
    return new Message(Message.Role.USER, content);
  }

  private static Message assistant(String content) {
    return new Message(Message.Role.ASSISTANT, content);
  }

  @Test
  void pairsAreScoredOnBothSidesEvenIfTheyAreEqual() {
    RowEncoder encoder = encoder(Template.MODEL, false);
    Encoded<ScoreRow> found =
        encoder.encodeForScoring(new Example.Preference(ORIGIN, "ab", "c", "c", 0), true);
    ScoreRow.Pair pair =
        assertInstanceOf(ScoreRow.Pair.class, assertInstanceOf(Encoded.Kept.class, found).value());
    for (TokenRow side : pair.sides()) {
      assertArrayEquals(new int[] {BOS, 'a', 'b', 'c'}, side.ids());
      assertArrayEquals(new boolean[] {false, false, false, true}, side.targets());
    }
    Example noTarget =
        new Example.TokensPreference(
            ORIGIN,
            new TokenPair(
                TokenRow.allTargets(new int[] {1, 2}), TokenRow.allTargets(new int[] {1}), 0));
    assertInstanceOf(Encoded.Bad.class, encoder.encodeForScoring(noTarget, true));
    assertInstanceOf(Encoded.Kept.class, encoder.encodeForScoring(noTarget, false));
    Example prompt = new Example.Prompt(ORIGIN, "ab");
    assertInstanceOf(Encoded.Bad.class, encoder.encodeForScoring(prompt, true));
    assertInstanceOf(Encoded.Kept.class, encoder.encodeForScoring(prompt, false));
    Example outside =
        new Example.TokensPreference(
            ORIGIN,
            new TokenPair(
                TokenRow.allTargets(new int[] {1, 2}), TokenRow.allTargets(new int[] {1, 259}), 0));
    assertEquals(
        new Encoded.Bad<ScoreRow>(
            "rejected_input_ids: token id 259 at position 1 is outside the vocabulary of 259;"
                + " allowed: 0 to 258"),
        encoder.encodeForScoring(outside, false));
  }

  @Test
  void aPairThatLosesItsTargetsToTheLimitIsDropped() {
    Example pair = new Example.Preference(ORIGIN, "abc", "d", "e", 0);
    for (Overlong overlong : List.of(Overlong.TRUNCATE, Overlong.DROP)) {
      RowEncoder encoder =
          new RowEncoder(
              tokenizer, 259, new RowEncoder.Options(Template.MODEL, 4, overlong, false, true));
      String reason = overlong == Overlong.DROP ? RowEncoder.TOO_LONG : RowEncoder.TARGETS_CUT_OFF;
      assertEquals(new Encoded.Dropped<ScoreRow>(reason, 5), encoder.encodeForScoring(pair, true));
    }
  }
}
