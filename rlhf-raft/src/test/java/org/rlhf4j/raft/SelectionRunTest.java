package org.rlhf4j.raft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.data.Example;
import org.rlhf4j.core.data.RowReader;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.testing.TestTokenizers;

class SelectionRunTest {
  @TempDir Path temporary;
  private Path output;

  @BeforeEach
  void output() {
    output = temporary.resolve("selected.jsonl");
  }

  private Path file(String name, String... lines) throws IOException {
    return Files.write(temporary.resolve(name), List.of(lines));
  }

  private Path responses() throws IOException {
    return file(
        "responses.jsonl",
        """
        {"index": 4, "prompt": "A:", "prompt_token_ids": [7, 8], "responses": [{"text": " x", "token_ids": [1]}, {"text": " yy", "token_ids": [2, 3]}]}""",
        "",
        """
        {"index": 9, "prompt": "B:", "prompt_token_ids": [9], "responses": [{"text": "#no#", "token_ids": [4]}, {"text": "", "token_ids": [5]}, {"text": "ok", "token_ids": [6]}]}""");
  }

  private Path scores() throws IOException {
    return file(
        "scores.jsonl",
        """
        {"index": 9, "sample": 2, "score": -3.5}""",
        """
        {"index": 4, "sample": 0, "score": 1}""",
        """
        {"index": 4, "sample": 1, "score": 2.25}""",
        """
        {"index": 9, "sample": 0, "score": 9}""",
        """
        {"index": 9, "sample": 1, "score": 4}""");
  }

  private ConfigBuilder<SelectConfig> builder(Path responses, Path scores) {
    return Config.of(SelectConfig.class)
        .set("dataset_path", responses.toString())
        .set("scores_path", scores == null ? null : scores.toString())
        .set("output_path", output.toString());
  }

  private static SelectionRun.Summary run(ConfigBuilder<SelectConfig> builder) {
    return new SelectionRun(builder.build(), Console.silent()).run();
  }

  @Test
  void theBestOfEachPromptBecomesARowOfTexts() throws Exception {
    ByteArrayOutputStream shown = new ByteArrayOutputStream();
    Console console = Console.plain(new PrintStream(shown, true, StandardCharsets.UTF_8), 100);
    SelectionRun.Summary summary =
        new SelectionRun(builder(responses(), scores()).build(), console).run();
    assertEquals(new SelectionRun.Summary(2, 5, 2, 3, 0, 0), summary);
    assertEquals(
        List.of(
            """
            {"index":4,"sample":1,"score":2.25,"prompt":"A:","completion":" yy"}""",
            """
            {"index":9,"sample":0,"score":9.0,"prompt":"B:","completion":"#no#"}"""),
        Files.readAllLines(output));
    String line = shown.toString(StandardCharsets.UTF_8);
    assertTrue(line.contains("5 responses to 2 prompts: 2 selected"), line);
    // What sft reads: the row's form is that of a completion.
    List<Example> rows = new ArrayList<>();
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    RowReader.read(List.of(output), rows::add, bad -> rows.add(null), digest);
    assertTrue(rows.stream().allMatch(row -> row instanceof Example.Completion), rows.toString());
  }

  @Test
  void lmflowsRulesAreOptions() throws IOException {
    SelectionRun.Summary summary =
        run(
            builder(responses(), scores())
                .set("clean_text", true)
                .set("discard_pattern", RaftSelection.LMFLOW_DISCARD_PATTERN)
                .set("selection", "global")
                .set("keep_fraction", 0.4));
    // Cleaned: x, yy, no, nothing, ok. x and nothing are too short; two of five are kept.
    assertEquals(new SelectionRun.Summary(2, 5, 2, 1, 2, 0), summary);
    assertEquals(
        List.of(
            """
            {"index":9,"sample":0,"score":9.0,"prompt":"B:","completion":"no"}""",
            """
            {"index":4,"sample":1,"score":2.25,"prompt":"A:","completion":"yy"}"""),
        Files.readAllLines(output));
  }

  @Test
  void tokensAsTheyWereSampled() throws IOException {
    run(builder(responses(), scores()).set("output_format", "tokens").set("discard_pattern", "#"));
    assertEquals(
        List.of(
            """
            {"index":4,"sample":1,"score":2.25,"input_ids":[7,8,2,3],"labels":[-100,-100,2,3]}""",
            """
            {"index":9,"sample":1,"score":4.0,"input_ids":[9,5],"labels":[-100,5]}"""),
        Files.readAllLines(output));
  }

  @Test
  void aTokenizerReadsPromptsWithoutIds() throws IOException {
    Path responses =
        file(
            "plain.jsonl",
            """
            {"index": 1, "prompt": "é<s>", "responses": [{"text": "a", "token_ids": [97], "score": 1}]}""");
    run(
        builder(responses, null)
            .set("output_format", "tokens")
            .set(
                "model_name_or_path", TestTokenizers.bytes(temporary.resolve("model")).toString()));
    // BOS once, and the special token's name in the text as its bytes.
    assertTrue(
        Files.readString(output).contains("\"input_ids\":[256,195,169,60,115,62,97]"),
        Files.readString(output));
  }

  @Test
  void anEmptyTextIsCounted() throws IOException {
    SelectionRun.Summary summary = run(builder(responses(), scores()).set("discard_pattern", "#"));
    assertEquals(new SelectionRun.Summary(2, 5, 1, 2, 1, 1), summary);
  }

  @Test
  void scoresMayStandWithTheResponses() throws IOException {
    Path file = temporary.resolve("scored.jsonl.gz");
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(file))) {
      out.write(
          """
          {"index": 0, "prompt": "p", "responses": [{"text": "a", "score": 1}, {"text": "b", "score": 3}]}
          {"index": 0, "prompt": "q", "responses": [{"text": "c", "score": -1}]}
          """
              .getBytes(StandardCharsets.UTF_8));
    }
    // Rows of one index are two prompts: nothing has to be told apart by it.
    assertEquals(new SelectionRun.Summary(2, 3, 2, 1, 0, 0), run(builder(file, null)));
    assertTrue(Files.readString(output).contains("\"completion\":\"b\""));
  }

  private void refused(ConfigBuilder<SelectConfig> builder, String message) {
    RlhfException found = assertThrows(RlhfException.class, () -> run(builder));
    assertEquals(ExitCode.INPUT, found.exitCode(), found.getMessage());
    assertTrue(found.getMessage().contains(message), found.getMessage());
    assertFalse(Files.exists(output));
  }

  @Test
  void unusableRowsAreNamed() throws IOException {
    refused(
        builder(responses(), null), "responses.jsonl:1: responses[0] has no score; scores_path");
    Path few = file("few.jsonl", Files.readAllLines(scores()).subList(0, 4).toArray(String[]::new));
    refused(builder(responses(), few), "responses.jsonl:3: responses[1] has no score in " + few);
    List<String> more = new ArrayList<>(Files.readAllLines(scores()));
    more.add("{\"index\": 4, \"sample\": 2, \"score\": 1}");
    Path stray = file("stray.jsonl", more.toArray(String[]::new));
    refused(
        builder(responses(), stray), "stray.jsonl:6: scores response 2 to prompt 4, which is not");
    more.set(5, more.get(0));
    Path twice = file("twice.jsonl", more.toArray(String[]::new));
    refused(builder(responses(), twice), "twice.jsonl:6: scores response 2 to prompt 9 again");
    more.set(5, "{\"index\": 4, \"sample\": 2, \"score\": \"high\"}");
    Path text = file("text.jsonl", more.toArray(String[]::new));
    refused(builder(responses(), text), "text.jsonl:6: needs the numbers index, sample and score");
    Path broken = file("broken.jsonl", "{\"index\": 1,");
    refused(builder(broken, null), "broken.jsonl:1: broken JSON");
    Path nan =
        file("nan.jsonl", "{\"index\": 1, \"responses\": [{\"text\": \"a\", \"score\": NaN}]}");
    refused(builder(nan, null), "nan.jsonl:1: broken JSON");
    refused(
        builder(file("rows.jsonl", "{\"prompt\": \"a\"}"), null), "rows.jsonl:1: has no integer");
    Path none = file("none.jsonl", "{\"index\": 1, \"responses\": []}");
    refused(builder(none, null), "none.jsonl:1: has no list of responses");
    refused(builder(file("empty.jsonl"), null), "no rows");
    Path same =
        file(
            "same.jsonl",
            "{\"index\": 4, \"prompt\": \"p\", \"responses\": [{\"text\": \"a\"}]}",
            "{\"index\": 4, \"prompt\": \"p\", \"responses\": [{\"text\": \"b\"}]}");
    refused(builder(same, scores()), "same.jsonl:2: has index 4 like another row");
    refused(
        builder(responses(), scores()).set("discard_pattern", "(?s)\\A"),
        "nothing to write: of 5 responses 5 are discarded");
    Path plain =
        file("plain.jsonl", "{\"index\": 1, \"responses\": [{\"text\": \"a\", \"score\": 1}]}");
    refused(builder(plain, null), "plain.jsonl:1: has no prompt text; output_format tokens");
    refused(
        builder(plain, null).set("output_format", "tokens"),
        "plain.jsonl:1: has no token_ids in responses[0]");
    Path ids =
        file(
            "ids.jsonl",
            "{\"index\": 1, \"responses\": [{\"text\": \"a\", \"token_ids\": [1], \"score\": 1}]}");
    refused(
        builder(ids, null).set("output_format", "tokens"),
        "ids.jsonl:1: has no prompt_token_ids; model_name_or_path names");
    RlhfException both =
        assertThrows(
            RlhfException.class,
            () ->
                builder(plain, null)
                    .set("output_format", "tokens")
                    .set("clean_text", true)
                    .build());
    assertTrue(both.getMessage().contains("they exclude each other"), both.getMessage());
  }
}
