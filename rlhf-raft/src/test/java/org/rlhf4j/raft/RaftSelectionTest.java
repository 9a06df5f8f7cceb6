package org.rlhf4j.raft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.raft.RaftSelection.Candidate;
import org.rlhf4j.raft.RaftSelection.Outcome;
import org.rlhf4j.raft.RaftSelection.Rule;

class RaftSelectionTest {
  private static final Pattern LMFLOW = Pattern.compile(RaftSelection.LMFLOW_DISCARD_PATTERN);

  private static JsonNode golden() throws IOException {
    return new JsonMapper()
        .readTree(Shared.path("golden/algorithms/lmflow_raft/expected.json").toFile());
  }

  /** K candidates to each prompt, prompt by prompt. */
  private static List<Candidate> candidates(double[]... rewards) {
    List<Candidate> candidates = new ArrayList<>();
    for (int prompt = 0; prompt < rewards.length; prompt++) {
      for (int sample = 0; sample < rewards[prompt].length; sample++) {
        candidates.add(
            new Candidate(prompt, sample, prompt + "-" + sample, rewards[prompt][sample]));
      }
    }
    return candidates;
  }

  private static double mean(List<Candidate> candidates, int[] places) {
    return Arrays.stream(places)
        .mapToDouble(p -> candidates.get(p).reward())
        .average()
        .orElseThrow();
  }

  @Test
  void lmflowsLocalStrategy() throws IOException {
    JsonNode local = golden().path("local");
    List<Candidate> candidates = new ArrayList<>();
    List<String> prompts = new ArrayList<>();
    local
        .path("samples")
        .properties()
        .forEach(
            entry -> {
              List<String> scored = new ArrayList<>();
              for (JsonNode sample : entry.getValue()) {
                String text = RaftSelection.cleanedAsLmflow(sample.path(0).asText());
                scored.add(entry.getKey() + text);
                candidates.add(
                    new Candidate(
                        prompts.size(), scored.size() - 1, text, sample.path(1).asDouble()));
              }
              JsonNode expected = local.path("scored_texts").path(prompts.size());
              assertEquals(texts(expected), scored);
              prompts.add(entry.getKey());
            });
    Outcome outcome =
        RaftSelection.select(
            candidates, new Rule(Selection.PER_PROMPT, 0.25, TieBreak.FIRST, LMFLOW));
    List<String> selected =
        Arrays.stream(outcome.selected())
            .mapToObj(p -> prompts.get(candidates.get(p).prompt()) + candidates.get(p).text())
            .toList();
    assertEquals(texts(local.path("selected")), selected);
    assertEquals(
        local.path("train_reward").asDouble(), mean(candidates, outcome.selected()), 1e-12);
    // LMFlow's curve is that of each prompt's first response, discarded or not.
    int[] firsts =
        IntStream.range(0, candidates.size())
            .filter(p -> candidates.get(p).sample() == 0)
            .toArray();
    assertEquals(local.path("model_reward").asDouble(), mean(candidates, firsts), 1e-12);
    assertAllAccountedFor(candidates, outcome);
  }

  @ParameterizedTest
  @ValueSource(strings = {"0.2", "0.35", "0.5"})
  void lmflowsTopStrategy(String fraction) throws IOException {
    JsonNode top = golden().path("top_" + fraction);
    List<Candidate> candidates = new ArrayList<>();
    List<String> prompts = new ArrayList<>();
    for (JsonNode sample : top.path("samples")) {
      candidates.add(
          new Candidate(prompts.size(), 0, sample.path(1).asText(), sample.path(2).asDouble()));
      prompts.add(sample.path(0).asText());
    }
    Outcome outcome =
        RaftSelection.select(
            candidates,
            new Rule(Selection.GLOBAL, Double.parseDouble(fraction), TieBreak.LAST, null));
    List<String> selected =
        Arrays.stream(outcome.selected())
            .mapToObj(p -> prompts.get(candidates.get(p).prompt()) + candidates.get(p).text())
            .toList();
    assertEquals(texts(top.path("selected")), selected);
    assertEquals(top.path("train_reward").asDouble(), mean(candidates, outcome.selected()), 1e-12);
    int[] all = IntStream.range(0, candidates.size()).toArray();
    assertEquals(top.path("model_reward").asDouble(), mean(candidates, all), 1e-12);
    assertAllAccountedFor(candidates, outcome);
  }

  @Test
  void lmflowsTextRules() throws IOException {
    JsonNode golden = golden();
    golden
        .path("clean_text")
        .properties()
        .forEach(
            entry ->
                assertEquals(
                    entry.getValue().asText(), RaftSelection.cleanedAsLmflow(entry.getKey())));
    golden
        .path("discard")
        .properties()
        .forEach(
            entry ->
                assertEquals(
                    entry.getValue().asBoolean(),
                    LMFLOW.matcher(entry.getKey()).find(),
                    entry.getKey()));
    // LMFlow fails on a text of nothing but the marker.
    assertTrue(golden.path("clean_text_of_marker_only").asText().startsWith("IndexError"));
    assertEquals("", RaftSelection.cleanedAsLmflow("###Human"));
  }

  private static List<String> texts(JsonNode list) {
    List<String> texts = new ArrayList<>();
    list.forEach(text -> texts.add(text.asText()));
    return texts;
  }

  private static void assertAllAccountedFor(List<Candidate> candidates, Outcome outcome) {
    int[] all =
        IntStream.concat(
                Arrays.stream(outcome.selected()),
                IntStream.concat(
                    Arrays.stream(outcome.passedOver()), Arrays.stream(outcome.discarded())))
            .sorted()
            .toArray();
    assertArrayEquals(IntStream.range(0, candidates.size()).toArray(), all);
  }

  @Test
  void theBestOfEachPromptTiesByRule() {
    List<Candidate> candidates =
        candidates(new double[] {1, 3, 3, 2}, new double[] {-1, -1, -5, -2}, new double[] {7});
    // A prompt with fewer responses than the others keeps its best all the same.
    Rule first = new Rule(Selection.PER_PROMPT, 0.25, TieBreak.FIRST, null);
    assertArrayEquals(new int[] {1, 4, 8}, RaftSelection.select(candidates, first).selected());
    Rule last = new Rule(Selection.PER_PROMPT, 0.25, TieBreak.LAST, null);
    assertArrayEquals(new int[] {2, 5, 8}, RaftSelection.select(candidates, last).selected());
    Rule half = new Rule(Selection.PER_PROMPT, 0.5, TieBreak.FIRST, null);
    Outcome outcome = RaftSelection.select(candidates, half);
    assertArrayEquals(new int[] {1, 2, 4, 5, 8}, outcome.selected());
    assertArrayEquals(new int[] {3, 0, 7, 6}, outcome.passedOver());
    assertArrayEquals(new int[0], outcome.discarded());
  }

  @Test
  void theBestOfAllWhateverTheirPrompts() {
    List<Candidate> candidates =
        candidates(new double[] {1, 3, 0.0}, new double[] {2, -0.0, 5}, new double[] {0, 0});
    Rule rule = new Rule(Selection.GLOBAL, 0.5, TieBreak.FIRST, null);
    assertArrayEquals(new int[] {5, 1, 3, 0}, RaftSelection.select(candidates, rule).selected());
    // 0 and -0 are equal: the order is that of the list.
    Rule most = new Rule(Selection.GLOBAL, 1, TieBreak.FIRST, null);
    assertArrayEquals(
        new int[] {5, 1, 3, 0, 2, 4, 6, 7}, RaftSelection.select(candidates, most).selected());
  }

  @Test
  void discardedResponsesAreCountedAndNeverKept() {
    List<Candidate> candidates =
        List.of(
            new Candidate(4, 0, "bad # here", 9),
            new Candidate(4, 1, "good", 1),
            new Candidate(9, 0, "#", 3),
            new Candidate(9, 1, "#", 2));
    Outcome outcome =
        RaftSelection.select(
            candidates, new Rule(Selection.PER_PROMPT, 1, TieBreak.FIRST, Pattern.compile("#")));
    assertArrayEquals(new int[] {1}, outcome.selected());
    assertArrayEquals(new int[] {0, 2, 3}, outcome.discarded());
    assertAllAccountedFor(candidates, outcome);
  }

  @ParameterizedTest
  @CsvSource({"8,0.125,1", "8,0.12,1", "10,0.35,3", "100,0.29,29", "7,1,7", "3,0.01,1", "5,0.5,2"})
  void aShareKeepsItsWholeNumberAndAtLeastOne(int responses, double share, int kept) {
    assertEquals(kept, RaftSelection.keepCount(responses, share));
  }

  @ParameterizedTest
  @ValueSource(doubles = {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY})
  void aRewardThatIsNoNumberIsRefusedByName(double reward) {
    List<Candidate> candidates = new ArrayList<>(candidates(new double[] {1, 2}));
    candidates.add(new Candidate(17, 3, "x", reward));
    RlhfException refused =
        assertThrows(
            RlhfException.class,
            () ->
                RaftSelection.select(
                    candidates, new Rule(Selection.GLOBAL, 0.5, TieBreak.FIRST, null)));
    assertEquals(ExitCode.NON_FINITE, refused.exitCode());
    assertTrue(refused.getMessage().startsWith("the reward of prompt 17, response 3 is " + reward));
  }
}
