package org.rlhf4j.core.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

class SamplerTest {
  private static Torch torch;

  @BeforeAll
  static void open() {
    torch = Torch.open("cpu");
  }

  @AfterAll
  static void close() {
    torch.close();
  }

  /** A case of the golden file with what it applies to. */
  record Case(String name, JsonNode of, float[] row, int[] context, int promptLength) {
    double option(String key, double absent) {
      return of.path("options").path(key).asDouble(absent);
    }

    @Override
    public String toString() {
      return name;
    }
  }

  static Stream<Case> processorCases() throws IOException {
    JsonMapper json = new JsonMapper();
    JsonNode all = json.readTree(Shared.path("golden/logits_processors.json").toFile());
    List<Case> cases = new ArrayList<>();
    for (JsonNode each : all.path("cases")) {
      String row = each.path("row").asText();
      cases.add(
          new Case(
              row + " " + each.path("options"),
              each,
              json.convertValue(all.path("rows").path(row), float[].class),
              json.convertValue(all.path("context"), int[].class),
              all.path("prompt_length").asInt()));
    }
    assertTrue(cases.size() > 100);
    return cases.stream();
  }

  private static SamplingConfig sampling(double temperature, int topK, double topP, double minP) {
    return penalized(temperature, topK, topP, minP, 1);
  }

  private static SamplingConfig penalized(
      double temperature, int topK, double topP, double minP, double penalty) {
    return new SamplingConfig(
        true, temperature, topK, topP, minP, penalty, 0, 8, 0, List.of(), false, false);
  }

  /** What the bans of a case forbid, by their definitions. */
  private static Set<Long> banned(Case c) {
    Set<Long> banned = new TreeSet<>();
    int n = (int) c.option("no_repeat_ngram_size", 0);
    int[] context = c.context();
    for (int start = 0; n > 0 && start + n <= context.length; start++) {
      boolean same = true;
      for (int i = 0; i < n - 1; i++) {
        same &= context[start + i] == context[context.length - n + 1 + i];
      }
      if (same) {
        banned.add((long) context[start + n - 1]);
      }
    }
    if (context.length - c.promptLength() < c.option("min_new_tokens", 0)) {
      banned.add((long) c.option("eos_token_id", -1));
    }
    c.of().path("options").path("suppress_tokens").forEach(id -> banned.add(id.asLong()));
    for (JsonNode word : c.of().path("options").path("bad_words_ids")) {
      boolean begun = true;
      for (int i = 0; i < word.size() - 1; i++) {
        begun &= context[context.length - word.size() + 1 + i] == word.get(i).asInt();
      }
      if (begun) {
        banned.add(word.get(word.size() - 1).asLong());
      }
    }
    return banned;
  }

  @ParameterizedTest
  @MethodSource("processorCases")
  void processedLogitsAreHuggingFaces(Case c) {
    SamplingConfig config =
        penalized(
            c.option("temperature", 1),
            (int) c.option("top_k", 0),
            c.option("top_p", 1),
            c.option("min_p", 0),
            c.option("repetition_penalty", 1));
    float[] found;
    try (Sampler sampler = new Sampler(torch, config);
        TensorScope scope = torch.scope()) {
      float[] seen = new float[c.row().length];
      for (int id : c.context()) {
        seen[id] = 1;
      }
      long[] banned = banned(c).stream().mapToLong(Long::longValue).toArray();
      found =
          sampler
              .process(
                  scope,
                  scope.of(c.row().clone(), 1, c.row().length),
                  new Sampler.Constraints(scope.of(seen, 1, seen.length), banned))
              .toFloats();
    }
    int kept = 0;
    boolean anyOfTheTied = c.of().path("row").asText().equals("ties") && c.option("top_p", 1) < 1;
    for (int id = 0; id < found.length; id++) {
      JsonNode expected = c.of().path("processed").get(id);
      kept += Float.isFinite(found[id]) ? 1 : 0;
      if (anyOfTheTied) {
        continue;
      }
      if (expected.isNull()) {
        assertEquals(Float.NEGATIVE_INFINITY, found[id], "token " + id);
      } else {
        assertEquals(expected.asDouble(), found[id], 1e-4, "token " + id);
      }
    }
    assertEquals(c.of().path("kept").size(), kept);
  }

  /** Draws from one distribution at many uniforms. */
  private static Sampler.Picked draw(
      TensorScope scope, Sampler sampler, float[] logits, float[] uniforms) {
    float[] rows = new float[uniforms.length * logits.length];
    for (int r = 0; r < uniforms.length; r++) {
      System.arraycopy(logits, 0, rows, r * logits.length, logits.length);
    }
    Tensor tensor = scope.of(rows, uniforms.length, logits.length);
    return sampler.pick(
        scope, tensor, new Sampler.Constraints(scope.zeros(0), new long[0]), uniforms);
  }

  @Test
  void frequenciesOverAGridOfUniformsAreTheProbabilities() {
    float[] logits = {0.3f, -1.2f, 2.1f, Float.NEGATIVE_INFINITY, 0, -4, 1.4f, 2.1f};
    double temperature = 0.8;
    double total = 0;
    double[] p = new double[logits.length];
    for (int i = 0; i < p.length; i++) {
      p[i] = Math.exp(logits[i] / temperature);
      total += p[i];
    }
    int draws = 20_000;
    float[] uniforms = new float[draws];
    for (int i = 0; i < draws; i++) {
      uniforms[i] = (i + 0.5f) / draws;
    }
    int[] counts = new int[p.length];
    try (Sampler sampler = new Sampler(torch, sampling(temperature, 0, 1, 0));
        TensorScope scope = torch.scope()) {
      Sampler.Picked picked = draw(scope, sampler, logits, uniforms);
      long[] tokens = picked.tokens().toLongs();
      float[] logProbs = picked.logProbs().toFloats();
      for (int i = 0; i < draws; i++) {
        counts[(int) tokens[i]]++;
        assertEquals(Math.log(p[(int) tokens[i]] / total), logProbs[i], 1e-5);
        assertTrue(i == 0 || tokens[i] >= tokens[i - 1], "the distribution function is inverted");
      }
    }
    for (int i = 0; i < p.length; i++) {
      // A grid of n points meets an interval of length p in n p points, give or take one.
      assertEquals(draws * p[i] / total, counts[i], 1.1, "token " + i);
    }
    assertEquals(0, counts[3]);
  }

  @Test
  void tokensOfProbabilityZeroAreNeverDrawn() {
    float none = Float.NEGATIVE_INFINITY;
    float[] uniforms = {0, Math.nextDown(1f), 1f, 0.5f, Float.MIN_VALUE};
    float[][] rows = {
      {none, none, 0.5f, none, 0.25f, none, none},
      {none, 3f, none, none, none, none, none},
      {0f, none, none, none, none, none, none},
      {none, none, none, none, none, none, 1e-3f},
    };
    try (Sampler sampler = new Sampler(torch, sampling(1, 0, 1, 0))) {
      for (float[] row : rows) {
        try (TensorScope scope = torch.scope()) {
          for (long token : draw(scope, sampler, row, uniforms).tokens().toLongs()) {
            assertTrue(row[(int) token] > none, "token " + token);
          }
        }
      }
    }
    // Rounding of many small shares: the last tokens are impossible, and the sum is not quite 1.
    float[] many = new float[1000];
    for (int i = 0; i < many.length; i++) {
      many[i] = i % 3 == 0 || i > 900 ? none : (float) Math.sin(i);
    }
    try (Sampler sampler = new Sampler(torch, sampling(0.7, 0, 0.999, 0));
        TensorScope scope = torch.scope()) {
      for (long token : draw(scope, sampler, many, uniforms).tokens().toLongs()) {
        assertTrue(many[(int) token] > none, "token " + token);
      }
    }
  }

  @Test
  void topPSortsAWideVocabularyOnlyWhereTheBestDoNotHoldTheMass() {
    // 2,000 equal tokens behind one of probability about 1/3: 512 of them do not reach 0.9.
    int words = 2001;
    float[] logits = new float[words];
    logits[700] = (float) Math.log(1000);
    try (Sampler sampler = new Sampler(torch, sampling(1, 0, 0.9, 0));
        TensorScope scope = torch.scope()) {
      Tensor row = scope.of(logits, 1, words);
      float[] found =
          sampler
              .process(scope, row, new Sampler.Constraints(scope.zeros(0), new long[0]))
              .toFloats();
      int kept = 0;
      for (float value : found) {
        kept += Float.isFinite(value) ? 1 : 0;
      }
      // 1/3 + n/3000 reaches 0.9 with n = 1,700.
      assertEquals(1701, kept, 2);
      assertTrue(Float.isFinite(found[700]));
    }
  }

  @Test
  void greedyTakesTheBestAfterPenaltiesAndReportsTheModelsOwnProbability() {
    SamplingConfig greedy =
        new SamplingConfig(false, 0.1, 1, 1, 0, 2, 0, 8, 0, List.of(), false, false);
    try (Sampler sampler = new Sampler(torch, greedy);
        TensorScope scope = torch.scope()) {
      Tensor logits = scope.of(new float[] {2, 1.5f, 1.4f, 0}, 1, 4);
      Tensor seen = scope.of(new float[] {1, 0, 0, 0}, 1, 4);
      Sampler.Picked picked =
          sampler.pick(scope, logits, new Sampler.Constraints(seen, new long[] {1}), new float[1]);
      // Token 0 is halved to 1, token 1 is banned.
      assertEquals(2, picked.tokens().toLongs()[0]);
      double total = Math.exp(2) + Math.exp(1.5) + Math.exp(1.4) + 1;
      assertEquals(1.4 - Math.log(total), picked.logProbs().item(), 1e-6);
    }
  }
}
