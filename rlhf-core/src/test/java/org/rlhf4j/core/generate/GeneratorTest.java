package org.rlhf4j.core.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.CounterRandom;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RandomStream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.data.PromptRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;

class GeneratorTest {
  private static final String STORIES = "models/tinystories-260k";
  private static final long SEED = 7;
  private static final int[] NO_END = {};

  @TempDir static Path folder;
  private static Torch torch;

  @BeforeAll
  static void open() throws IOException {
    torch = Torch.open("cpu");
    TinyModel.causalLm(folder.resolve("tiny"), 1);
  }

  @AfterAll
  static void close() {
    torch.close();
  }

  /** A model of the tests: one that is made here, or a folder that is kept elsewhere. */
  private static CausalLm load(String name, ElementType type) {
    Path path = name.equals("tiny") ? folder.resolve(name) : Shared.path(name);
    return ModelLoader.causalLm(
        torch, ModelFolder.open(path), new ModelLoader.Options(type, false));
  }

  private static SamplingConfig sampling(Object... keysAndValues) {
    ConfigBuilder<SamplingConfig> builder = Config.of(SamplingConfig.class);
    for (int i = 0; i < keysAndValues.length; i += 2) {
      builder.set((String) keysAndValues[i], keysAndValues[i + 1]);
    }
    return builder.build();
  }

  /** Prompts of random tokens, each of another length. */
  private static List<PromptRow> prompts(CausalLm model, int count, int shortest) {
    int vocabulary = model.decoder().spec().vocabularySize();
    List<PromptRow> prompts = new ArrayList<>();
    for (int p = 0; p < count; p++) {
      // Lengths go up and down, so that sorting by length moves the prompts.
      int[] ids = new int[shortest + p * 5 % 11];
      for (int t = 0; t < ids.length; t++) {
        ids[t] = (int) (vocabulary * CounterRandom.uniform(3, RandomStream.USER, 0, p, t));
      }
      prompts.add(new PromptRow(p, "", ids));
    }
    return prompts;
  }

  private static List<PromptRow> stories() {
    try (Tokenizer tokenizer = Tokenizer.load(Shared.path(STORIES))) {
      List<PromptRow> prompts = new ArrayList<>();
      for (String text : List.of("Once upon a time", "Tom had a red ball.", "Lily was sad")) {
        prompts.add(new PromptRow(prompts.size(), text, tokenizer.encode(text)));
      }
      return prompts;
    }
  }

  private static List<List<Response>> generate(
      CausalLm model, SamplingConfig config, int[] eosIds, List<PromptRow> prompts, int... plan) {
    try (Generator generator = new Generator(model, null, config, eosIds)) {
      return generator.generate(
          prompts, new Generator.Plan(plan[0], plan[1], SEED, 0), finished -> {});
    }
  }

  private static int[] everyThirteenth(CausalLm model) {
    int vocabulary = model.decoder().spec().vocabularySize();
    return IntStream.range(0, vocabulary / 13).map(i -> 13 * i + 4).toArray();
  }

  private static void assertSameTokens(Response expected, Response found, String where) {
    assertArrayEquals(expected.tokenIds(), found.tokenIds(), where);
    assertEquals(expected.finishReason(), found.finishReason(), where);
    assertArrayEquals(expected.logProbs(), found.logProbs(), 1e-4f, where);
  }

  static Stream<String> models() {
    return Stream.of(
        "tiny",
        "golden/models/llama-gqa",
        "golden/models/llama-tied-legacy",
        "golden/models/llama3-rope",
        "golden/models/llama-bias",
        STORIES);
  }

  @ParameterizedTest
  @MethodSource("models")
  void aSampleDependsOnSeedPromptAndNumberAlone(String name) {
    try (CausalLm model = load(name, ElementType.FP32)) {
      SamplingConfig config = sampling("max_new_tokens", 18, "temperature", 0.9, "top_p", 0.95);
      // Some samples end early, so that finished ones leave their batches at different times.
      int[] eosIds = everyThirteenth(model);
      List<PromptRow> prompts = prompts(model, 9, 2);
      List<List<Response>> reference = generate(model, config, eosIds, prompts, 8, 64);
      Set<FinishReason> reasons = new HashSet<>();
      reference.forEach(all -> all.forEach(one -> reasons.add(one.finishReason())));
      assertEquals(Set.of(FinishReason.EOS, FinishReason.LENGTH), reasons);

      for (int batchSize : new int[] {1, 3, 64}) {
        for (int samples : new int[] {1, 8}) {
          List<List<Response>> found = generate(model, config, eosIds, prompts, samples, batchSize);
          for (int p = 0; p < prompts.size(); p++) {
            assertEquals(samples, found.get(p).size());
            for (int k = 0; k < samples; k++) {
              String where = "batch " + batchSize + ", K " + samples + ", " + p + "/" + k;
              assertSameTokens(reference.get(p).get(k), found.get(p).get(k), where);
            }
          }
        }
      }
      // In pieces side by side.
      int before = torch.threads();
      for (int threads : new int[] {2, 5}) {
        torch.setThreads(threads);
        List<List<Response>> found = generate(model, config, eosIds, prompts, 8, 64);
        for (int p = 0; p < prompts.size(); p++) {
          for (int k = 0; k < 8; k++) {
            String where = threads + " threads, " + p + "/" + k;
            assertSameTokens(reference.get(p).get(k), found.get(p).get(k), where);
          }
        }
      }
      torch.setThreads(before);
      // Other mates in another order; what names a prompt is its index, not its place.
      List<PromptRow> some = List.of(prompts.get(6), prompts.get(1), prompts.get(4));
      List<List<Response>> found = generate(model, config, eosIds, some, 2, 64);
      for (int p = 0; p < some.size(); p++) {
        assertSameTokens(
            reference.get(some.get(p).index()).get(1), found.get(p).get(1), "mates " + p);
      }
    }
  }

  @Test
  void seedRoundIndexAndNumberEachGiveAnotherSample() {
    try (CausalLm model = load("tiny", ElementType.FP32);
        Generator generator = new Generator(model, null, sampling("max_new_tokens", 12), NO_END)) {
      int[] ids = {1, 2, 3};
      List<PromptRow> prompts = List.of(new PromptRow(0, "", ids), new PromptRow(1, "", ids));
      Set<String> all = new HashSet<>();
      for (long seed : new long[] {0, 1}) {
        for (long round : new long[] {0, 1}) {
          generator
              .generate(prompts, new Generator.Plan(3, 64, seed, round), finished -> {})
              .forEach(ofPrompt -> ofPrompt.forEach(r -> all.add(Arrays.toString(r.tokenIds()))));
        }
      }
      assertEquals(2 * 2 * 2 * 3, all.size());
    }
  }

  @Test
  void roundingInBf16FlipsFewDraws() {
    try (CausalLm model = load(STORIES, ElementType.BF16)) {
      SamplingConfig config = sampling("max_new_tokens", 32);
      List<PromptRow> prompts = prompts(model, 12, 3);
      List<List<Response>> together = generate(model, config, NO_END, prompts, 4, 64);
      List<List<Response>> alone = generate(model, config, NO_END, prompts, 4, 4);
      int drawn = 0;
      int flipped = 0;
      for (int p = 0; p < prompts.size(); p++) {
        for (int k = 0; k < 4; k++) {
          int[] a = together.get(p).get(k).tokenIds();
          int[] b = alone.get(p).get(k).tokenIds();
          int same = Arrays.mismatch(a, b);
          // Behind the first difference the samples go their own ways.
          drawn += same < 0 ? a.length : same + 1;
          flipped += same < 0 ? 0 : 1;
        }
      }
      System.out.println("bf16: " + flipped + " of " + drawn + " draws differ by batch size");
      // 1 of 1528 where it was measured; other processors sum in other orders.
      assertTrue(flipped <= 4, flipped + " of " + drawn + " draws flipped");
    }
  }

  static Stream<SamplingConfig> kinds() {
    return Stream.of(
        sampling("max_new_tokens", 14),
        sampling("max_new_tokens", 14, "do_sample", false),
        sampling("max_new_tokens", 14, "temperature", 0.6, "top_k", 12),
        sampling("max_new_tokens", 14, "temperature", 1.4, "top_p", 0.8),
        sampling("max_new_tokens", 14, "min_p", 0.1),
        sampling(
            "max_new_tokens", 14, "temperature", 0.8, "top_k", 20, "top_p", 0.9, "min_p", 0.05),
        sampling("max_new_tokens", 14, "repetition_penalty", 1.7, "do_sample", false),
        sampling("max_new_tokens", 14, "repetition_penalty", 1.3, "temperature", 0.7),
        sampling("max_new_tokens", 14, "no_repeat_ngram_size", 1, "temperature", 0.5),
        sampling("max_new_tokens", 14, "no_repeat_ngram_size", 2, "do_sample", false),
        sampling("max_new_tokens", 14, "no_repeat_ngram_size", 3, "temperature", 0.4),
        sampling("max_new_tokens", 14, "min_new_tokens", 9),
        sampling("max_new_tokens", 14, "suppress_eos", true),
        sampling("max_new_tokens", 14, "ignore_eos", true, "min_new_tokens", 3));
  }

  /**
   * The cache, the prompt that is read once, samples that leave, and the marks and bans that move
   * with them change nothing.
   */
  @ParameterizedTest
  @MethodSource("kinds")
  void responsesAreThoseOfASlowReference(SamplingConfig config) {
    for (String name : List.of("tiny", STORIES)) {
      try (CausalLm model = load(name, ElementType.FP32)) {
        int[] eosIds = everyThirteenth(model);
        List<PromptRow> prompts = prompts(model, 4, 4);
        int samples = config.doSample() ? 4 : 1;
        List<List<Response>> found = generate(model, config, eosIds, prompts, samples, 64);
        SlowSampling slow = new SlowSampling(model, config, eosIds);
        for (PromptRow prompt : prompts) {
          for (int k = 0; k < samples; k++) {
            SlowSampling.Sample expected = slow.sample(prompt, k, SEED, 0);
            Response response = found.get(prompt.index()).get(k);
            String where = name + " " + prompt.index() + "/" + k;
            assertArrayEquals(expected.tokens(), response.tokenIds(), where);
            assertEquals(expected.finished(), response.finishReason(), where);
            for (int t = 0; t < expected.logProbs().length; t++) {
              assertEquals(expected.logProbs()[t], response.logProbs()[t], 2e-4, where);
            }
          }
        }
      }
    }
  }

  @Test
  void everyEndIdEndsAResponseAndBelongsToIt() {
    try (CausalLm model = load("tiny", ElementType.FP32)) {
      List<PromptRow> prompts = prompts(model, 4, 3);
      SamplingConfig config = sampling("max_new_tokens", 20);
      List<List<Response>> endless = generate(model, config, NO_END, prompts, 2, 64);
      // Two tokens that occur: what comes before the first of them stays as it is.
      int[] ids = endless.get(2).get(1).tokenIds();
      int[] eosIds = {ids[6], ids[13]};
      List<List<Response>> found = generate(model, config, eosIds, prompts, 2, 64);
      int ended = 0;
      for (int p = 0; p < prompts.size(); p++) {
        for (int k = 0; k < 2; k++) {
          int[] all = endless.get(p).get(k).tokenIds();
          int end = 0;
          while (end < all.length && all[end] != eosIds[0] && all[end] != eosIds[1]) {
            end++;
          }
          boolean eos = end < all.length;
          ended += eos ? 1 : 0;
          assertArrayEquals(
              Arrays.copyOf(all, eos ? end + 1 : end), found.get(p).get(k).tokenIds());
          assertEquals(
              eos ? FinishReason.EOS : FinishReason.LENGTH, found.get(p).get(k).finishReason());
        }
      }
      assertTrue(ended > 0);
    }
  }

  @Test
  void endTokensCanBeDelayedForbiddenOrIgnored() {
    try (CausalLm model = load("tiny", ElementType.FP32)) {
      List<PromptRow> prompts = prompts(model, 4, 3);
      int[] eosIds = IntStream.range(0, 60).toArray();
      for (Response r :
          flat(generate(model, sampling("max_new_tokens", 30), eosIds, prompts, 4, 64))) {
        assertTrue(r.tokenIds().length < 30, "ends are frequent here");
      }
      SamplingConfig delayed = sampling("max_new_tokens", 30, "min_new_tokens", 10);
      for (Response r : flat(generate(model, delayed, eosIds, prompts, 4, 64))) {
        assertTrue(r.tokenIds().length > 10, "10 tokens before the end token");
        for (int t = 0; t < 10; t++) {
          assertTrue(r.tokenIds()[t] >= 60);
        }
      }
      SamplingConfig forbidden = sampling("max_new_tokens", 30, "suppress_eos", true);
      for (Response r : flat(generate(model, forbidden, eosIds, prompts, 4, 64))) {
        assertEquals(30, r.tokenIds().length);
        assertTrue(Arrays.stream(r.tokenIds()).allMatch(id -> id >= 60));
        assertEquals(FinishReason.LENGTH, r.finishReason());
      }
      SamplingConfig ignored = sampling("max_new_tokens", 30, "ignore_eos", true);
      List<Response> endless = flat(generate(model, ignored, eosIds, prompts, 4, 64));
      List<Response> without =
          flat(generate(model, sampling("max_new_tokens", 30), NO_END, prompts, 4, 64));
      for (int i = 0; i < endless.size(); i++) {
        assertSameTokens(without.get(i), endless.get(i), "ignored ends " + i);
        assertTrue(Arrays.stream(endless.get(i).tokenIds()).anyMatch(id -> id < 60));
      }
    }
  }

  private static List<Response> flat(List<List<Response>> responses) {
    return responses.stream().flatMap(List::stream).toList();
  }

  @Test
  void noRunOfTokensOccursTwice() {
    try (CausalLm model = load("tiny", ElementType.FP32)) {
      SamplingConfig config =
          sampling("max_new_tokens", 60, "no_repeat_ngram_size", 2, "temperature", 0.2);
      List<PromptRow> prompts = prompts(model, 3, 8);
      List<List<Response>> found = generate(model, config, NO_END, prompts, 2, 64);
      for (PromptRow prompt : prompts) {
        for (Response response : found.get(prompt.index())) {
          int[] all =
              IntStream.concat(Arrays.stream(prompt.ids()), Arrays.stream(response.tokenIds()))
                  .toArray();
          Set<Long> pairs = new HashSet<>();
          for (int t = 1; t < all.length; t++) {
            assertTrue(pairs.add(1000L * all[t - 1] + all[t]), "repeated at " + t);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3})
  void theEndOfTheContextEndsAResponse(int room) {
    try (CausalLm model = load("tiny", ElementType.FP32)) {
      int[] ids = new int[TinyModel.POSITIONS - room];
      Arrays.setAll(ids, t -> t * 7 % 250);
      List<PromptRow> prompts =
          List.of(new PromptRow(0, "", ids), new PromptRow(1, "", new int[] {1, 2, 3}));
      SamplingConfig config = sampling("max_new_tokens", 9);
      List<List<Response>> found = generate(model, config, NO_END, prompts, 3, 64);
      SlowSampling slow = new SlowSampling(model, config);
      for (PromptRow prompt : prompts) {
        for (int k = 0; k < 3; k++) {
          Response response = found.get(prompt.index()).get(k);
          assertEquals(prompt.index() == 0 ? room : 9, response.tokenIds().length);
          assertEquals(FinishReason.LENGTH, response.finishReason());
          assertArrayEquals(
              slow.sample(prompt, k, SEED, 0).tokens(), response.tokenIds(), "sample " + k);
        }
      }
      PromptRow full = new PromptRow(5, "", new int[TinyModel.POSITIONS]);
      RlhfException e =
          assertThrows(
              RlhfException.class, () -> generate(model, config, NO_END, List.of(full), 1, 64));
      assertEquals(ExitCode.INPUT, e.exitCode());
      assertTrue(e.getMessage().contains("prompt 5 has 128 tokens"), e.getMessage());
    }
  }

  @Test
  void theCacheGrowsWithLongResponses() {
    try (CausalLm model = load("tiny", ElementType.FP32)) {
      // More tokens than the cache first has room for.
      SamplingConfig config = sampling("max_new_tokens", 90, "temperature", 0.8);
      List<PromptRow> prompts = List.of(new PromptRow(0, "", new int[] {9, 8}));
      List<Response> found = generate(model, config, NO_END, prompts, 2, 64).get(0);
      SlowSampling.Sample expected =
          new SlowSampling(model, config).sample(prompts.get(0), 1, SEED, 0);
      assertEquals(90, expected.tokens().length);
      assertArrayEquals(expected.tokens(), found.get(1).tokenIds());
    }
  }

  @Test
  void stopStringsEndAResponseAcrossTokenBorders() {
    Path path = Shared.path(STORIES);
    try (CausalLm model = load(STORIES, ElementType.FP32);
        Tokenizer tokenizer = Tokenizer.load(path)) {
      List<PromptRow> prompts = stories();
      Generator.Plan plan = new Generator.Plan(4, 64, SEED, 0);
      List<List<Response>> endless;
      try (Generator generator =
          new Generator(model, tokenizer, sampling("max_new_tokens", 60), NO_END)) {
        endless = generator.generate(prompts, plan, finished -> {});
      }
      for (Response r : flat(endless)) {
        assertEquals(tokenizer.decode(r.tokenIds()), r.text());
      }
      List<String> stops = List.of("tle gi", ". S", "ed to");
      SamplingConfig config = sampling("max_new_tokens", 60, "stop", stops);
      int stopped = 0;
      int insideAToken = 0;
      try (Generator generator = new Generator(model, tokenizer, config, NO_END)) {
        List<List<Response>> found = generator.generate(prompts, plan, finished -> {});
        for (int p = 0; p < prompts.size(); p++) {
          for (int k = 0; k < 4; k++) {
            int[] all = endless.get(p).get(k).tokenIds();
            Response response = found.get(p).get(k);
            // The first token after which some stop string can be read.
            int count = 0;
            int cut = -1;
            String text = "";
            while (cut < 0 && count < all.length) {
              text = tokenizer.decode(Arrays.copyOf(all, ++count));
              String soFar = text;
              cut =
                  stops.stream()
                      .mapToInt(soFar::indexOf)
                      .filter(place -> place >= 0)
                      .min()
                      .orElse(-1);
            }
            assertArrayEquals(Arrays.copyOf(all, count), response.tokenIds());
            assertEquals(cut < 0 ? text : text.substring(0, cut), response.text());
            assertEquals(
                cut < 0 ? FinishReason.LENGTH : FinishReason.STOP, response.finishReason());
            stopped += cut < 0 ? 0 : 1;
            insideAToken += cut >= 0 && stops.stream().noneMatch(text::endsWith) ? 1 : 0;
          }
        }
      }
      assertTrue(stopped >= 8, stopped + " of 12 stopped");
      assertTrue(insideAToken > 0, "some stop string ends inside a token");
    }
  }

  @Test
  void stopStringsNeedATokenizer() {
    try (CausalLm model = load("tiny", ElementType.FP32)) {
      SamplingConfig config = sampling("stop", List.of("x"));
      RlhfException e =
          assertThrows(
              RlhfException.class, () -> new Generator(model, null, config, NO_END).close());
      assertEquals(ExitCode.CONFIG, e.exitCode());
    }
  }

  @Test
  void logProbsAreThoseThatScoringFinds() {
    for (String name : List.of("tiny", STORIES)) {
      try (CausalLm model = load(name, ElementType.FP32)) {
        List<PromptRow> prompts = name.equals(STORIES) ? stories() : prompts(model, 6, 3);
        for (boolean sampled : List.of(true, false)) {
          SamplingConfig config = sampling("max_new_tokens", 30, "do_sample", sampled);
          int[] eosIds = everyThirteenth(model);
          List<List<Response>> found = generate(model, config, eosIds, prompts, 1, 64);
          List<TokenRow> rows = new ArrayList<>();
          for (PromptRow prompt : prompts) {
            int[] response = found.get(prompt.index()).get(0).tokenIds();
            int[] ids =
                IntStream.concat(Arrays.stream(prompt.ids()), Arrays.stream(response)).toArray();
            rows.add(TokenRow.targetsFrom(ids, prompt.ids().length));
          }
          List<float[]> scored = new Scorer(4, finished -> {}).logProbs(model, rows);
          for (int p = 0; p < prompts.size(); p++) {
            assertArrayEquals(
                found.get(p).get(0).logProbs(),
                scored.get(p),
                name.equals(STORIES) ? 1e-5f : 4e-5f,
                name);
          }
        }
      }
    }
  }

  @Test
  void numbersThatAreNoDistributionAreAnErrorOfTheirOwn() {
    try (CausalLm model = load("tiny", ElementType.FP32)) {
      SamplingConfig config = sampling("suppress_eos", true);
      int[] allIds = IntStream.range(0, model.decoder().spec().vocabularySize()).toArray();
      RlhfException e =
          assertThrows(
              RlhfException.class,
              () ->
                  generate(
                      model,
                      config,
                      allIds,
                      List.of(new PromptRow(3, "", new int[] {1, 2})),
                      1,
                      64));
      assertEquals(ExitCode.NON_FINITE, e.exitCode());
      assertTrue(e.getMessage().startsWith("prompt 3: "), e.getMessage());
    }
  }
}
