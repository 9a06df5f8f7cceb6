package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.config.LrSchedulerType;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.model.TokenBatch.PlacedRow;
import org.rlhf4j.core.model.Weights;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.torch.AdamW;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.LearningRateSchedule;
import org.rlhf4j.core.train.Optimization;

/**
 * A roll-out and four steps against what trlX's own trainer did, for three of its versions: texts,
 * experience, statistics, losses, gradient norms, and the networks afterwards.
 */
class TrlxRolloutTest {
  /** Of forward values, as the golden files' README has it. */
  private static final double VALUE = 1e-5;

  /** Of gradients, and of numbers after steps. */
  private static final double TRAINED = 1e-4;

  private static final TrlxMiniBatch.Settings SETTINGS =
      new TrlxMiniBatch.Settings(1, 0.95, 0.2, 0.2, 1);

  static Stream<String> cases() {
    List<String> common =
        List.of("none", "running", "ref", "ref_given", "clip_2", "pad_is_eos", "stop", "bloom");
    List<String> ofHead = List.of("dense", "llama");
    return Stream.concat(
        Stream.of("head", "v0.6.0", "v0.5.0")
            .flatMap(version -> common.stream().map(name -> version + "/rollout_" + name)),
        ofHead.stream().map(name -> "head/rollout_" + name));
  }

  private static TrlxCompat version(String name) {
    return Arrays.stream(TrlxCompat.values())
        .filter(version -> name.startsWith(version + "/"))
        .findFirst()
        .orElseThrow();
  }

  /** A chunk as trlX held it. */
  private record Chunk(List<int[]> prompts, List<int[]> responses) {
    static Chunk of(SafetensorsFile file, int number, JsonNode golden) {
      int pad = golden.path("pad_token_id").asInt();
      int eos = golden.path("eos_token_id").asInt();
      int[][] prompts = matrix(file, "chunk" + number + ".prompt_ids");
      int[][] mask = matrix(file, "chunk" + number + ".prompt_mask");
      int[][] generated = matrix(file, "chunk" + number + ".generated");
      List<int[]> real = new ArrayList<>();
      List<int[]> responses = new ArrayList<>();
      for (int row = 0; row < prompts.length; row++) {
        int width = prompts[row].length;
        int padding = width - Arrays.stream(mask[row]).sum();
        real.add(Arrays.copyOfRange(prompts[row], padding, width));
        int end = width;
        while (end < generated[row].length && generated[row][end] != pad) {
          end++;
        }
        boolean isEos = end < generated[row].length && generated[row][end] == eos;
        responses.add(Arrays.copyOfRange(generated[row], width, end + (isEos ? 1 : 0)));
      }
      return new Chunk(real, responses);
    }
  }

  private static int[][] matrix(SafetensorsFile file, String name) {
    int width = (int) file.info(name).shape()[1];
    long[] all = file.readLongs(name);
    return IntStream.range(0, all.length / width)
        .mapToObj(
            row ->
                Arrays.stream(all, row * width, (row + 1) * width)
                    .mapToInt(Math::toIntExact)
                    .toArray())
        .toArray(int[][]::new);
  }

  private static double[] numbers(SafetensorsFile file, String name) {
    float[] floats = file.readFloats(name);
    return IntStream.range(0, floats.length).mapToDouble(i -> floats[i]).toArray();
  }

  private static double[][] scores(JsonNode node) {
    double[][] scores = new double[node.size()][];
    for (int i = 0; i < scores.length; i++) {
      JsonNode score = node.get(i);
      scores[i] = score.isArray() ? Numbers.row(score) : new double[] {score.asDouble()};
    }
    return scores;
  }

  private static PpoNetworks networks(Torch torch, Path models, TrlxCompat version) {
    PpoNetworks networks =
        PpoNetworks.load(
            torch,
            ModelFolder.open(models.resolve("policy0")),
            new PpoNetworks.Options(
                ElementType.FP32,
                null,
                1,
                new ModelLoader.Split(2, version.embeddings(), true),
                ValueNetwork.POLICY_HEAD,
                0,
                null,
                1,
                Recording.FULL));
    fill(torch, networks.policy().trained(), models.resolve("policy1.safetensors"));
    Weights head = networks.trained(1).get(1).weights();
    assertEquals(4, fill(torch, head, models.resolve("expected.safetensors")));
    return networks;
  }

  private static int fill(Torch torch, Weights weights, Path path) {
    SafetensorsFile file = SafetensorsFile.open(path);
    int filled = 0;
    for (int i = 0; i < weights.parameters().size(); i++) {
      String name = weights.parameters().get(i).name();
      if (file.contains(name)) {
        try (TensorScope scope = torch.scope()) {
          Weights.fill(
              torch.ops(),
              scope,
              weights.masters().get(i),
              (start, target) -> file.readFloats(name, start, target));
        }
        filled++;
      }
    }
    weights.followMasters();
    return filled;
  }

  @ParameterizedTest
  @MethodSource("cases")
  void rolloutAndFourSteps(String name, @TempDir Path temp) throws IOException {
    TrlxCompat version = version(name);
    JsonNode golden = Numbers.json("golden/algorithms/trlx_ppo/" + name + ".json");
    SafetensorsFile file =
        SafetensorsFile.open(Shared.path("golden/algorithms/trlx_ppo/" + name + ".safetensors"));
    Path models = Shared.path("golden/algorithms/trlx_models/" + golden.path("arch").asText());
    int pad = golden.path("pad_token_id").asInt();
    try (Torch torch = Torch.open("cpu");
        Tokenizer tokenizer = WordTokenizer.of(temp, pad);
        PpoNetworks networks = networks(torch, models, version)) {
      TrlxPlaces places = TrlxPlaces.of(version, networks.policy().decoder().spec());
      List<TrlxSample> samples = rollout(golden, file, networks, tokenizer);
      collated(file, samples);
      train(
          torch, golden, networks, new TrlxStep.Settings(version, places, pad, SETTINGS), samples);
      after(torch, file, networks, samples);
    }
  }

  private static List<TrlxSample> rollout(
      JsonNode golden, SafetensorsFile file, PpoNetworks networks, Tokenizer tokenizer) {
    TrlxCompat version = version(file.path().getParent().getFileName() + "/");
    int pad = golden.path("pad_token_id").asInt();
    List<String> stops = new ArrayList<>();
    golden.path("stop_sequences").forEach(stop -> stops.add(stop.asText()));
    TrlxText text = TrlxText.of(version, tokenizer, stops, pad);
    JsonNode method = golden.path("method");
    ScoreScaling scaling = scaling(method);
    List<TrlxExperience> chunks = new ArrayList<>();
    List<TrlxScores> scored = new ArrayList<>();
    for (int number = 0; number < 2; number++) {
      Chunk chunk = Chunk.of(file, number, golden);
      List<TrlxText.Texts> texts = text.texts(chunk.prompts(), chunk.responses());
      JsonNode expected = golden.path("texts").get(number);
      for (int i = 0; i < texts.size(); i++) {
        assertEquals(expected.path("prompts").get(i).asText(), texts.get(i).prompt());
        assertEquals(expected.path("outputs").get(i).asText(), texts.get(i).output());
        assertEquals(expected.path("samples").get(i).asText(), texts.get(i).sample());
      }
      TrlxScores scores =
          TrlxScores.of(
              version,
              scores(golden.path("scores").get(number)),
              method.path("cliprange_reward").asDouble(),
              scaling);
      scaling = scores.scaling();
      scored.add(scores);
      TrlxChunk made =
          new TrlxChunk(
              version,
              TrlxPlaces.of(version, networks.policy().decoder().spec()),
              pad,
              chunk.prompts(),
              texts.stream().map(each -> text.ids(each.output())).toList());
      chunks.add(
          made.experience(
              networks.score(made.batch(), null),
              scores.scores(),
              method.path("init_kl_coef").asDouble()));
    }
    List<TrlxSample> samples = chunks.stream().flatMap(c -> c.samples().stream()).toList();
    for (int i = 0; i < samples.size(); i++) {
      TrlxSample sample = samples.get(i);
      assertElement(file, "element" + i + ".logprobs", sample.logProbs());
      assertElement(file, "element" + i + ".values", sample.values());
      assertElement(file, "element" + i + ".rewards", sample.rewards());
    }
    Numbers.assertGolden(
        golden.path("ref_std_after").asDouble(), scaling.reference(), VALUE, "ref_std_after");
    statistics(golden, version, chunks, scored);
    return samples;
  }

  private static void assertElement(SafetensorsFile file, String name, double[] found) {
    Numbers.assertGolden(numbers(file, name), found, VALUE, name);
  }

  private static ScoreScaling scaling(JsonNode method) {
    ScoreScale scale =
        switch (method.path("scale_reward").asText()) {
          case "running" -> ScoreScale.RUNNING;
          case "ref" -> ScoreScale.REF;
          default -> ScoreScale.NONE;
        };
    double reference = method.path("ref_std").asDouble(Double.NaN);
    return new ScoreScaling(scale, RunningMoments.start(), reference);
  }

  /** What was logged: means over chunks at HEAD, the last chunk's before. */
  private static void statistics(
      JsonNode golden, TrlxCompat version, List<TrlxExperience> chunks, List<TrlxScores> scores) {
    Map<String, Double> found = new LinkedHashMap<>();
    boolean head = version == TrlxCompat.HEAD;
    List<TrlxScores> logged = head ? scores : scores.subList(1, 2);
    String prefix = head ? "rollout_scores/" : "exp_scores/";
    found.put(prefix + "mean", mean(logged.stream().map(s -> s.spread().mean())));
    found.put(prefix + "std", mean(logged.stream().map(s -> s.spread().unbiasedDeviation())));
    found.put(
        prefix + "running_mean", mean(logged.stream().map(s -> s.scaling().moments().mean())));
    found.put(
        prefix + "running_std", mean(logged.stream().map(s -> s.scaling().moments().deviation())));
    double measured = version == TrlxCompat.V0_5_0 ? Double.NaN : version.measuredKl(chunks);
    if (head) {
      found.put("policy/sqrt_kl", Math.sqrt(measured));
      found.put("policy/kl_per_token", mean(chunks.stream().map(c -> Math.sqrt(c.klOfToken()))));
    } else if (version == TrlxCompat.V0_6_0) {
      found.put("policy/sqrt_kl", Math.sqrt(measured));
    }
    found.put("kl_ctl_value", golden.path("method").path("init_kl_coef").asDouble());
    assertSame(golden.path("stats"), found, VALUE);
    if (version != TrlxCompat.V0_5_0) {
      double expected = golden.path("mean_kl_for_controller").asDouble();
      Numbers.assertGolden(expected, measured, VALUE, "mean_kl_for_controller");
    }
  }

  private static double mean(Stream<Double> numbers) {
    return numbers.mapToDouble(Double::doubleValue).average().orElseThrow();
  }

  private static void assertSame(JsonNode expected, Map<String, Double> found, double tolerance) {
    expected
        .properties()
        .forEach(
            entry -> {
              assertTrue(found.containsKey(entry.getKey()), entry.getKey());
              Numbers.assertGolden(
                  entry.getValue().asDouble(),
                  found.get(entry.getKey()),
                  tolerance,
                  entry.getKey());
            });
    assertEquals(expected.size(), found.size());
  }

  /** Padding of a mini-batch, as far as there is any here. */
  private static void collated(SafetensorsFile file, List<TrlxSample> samples) {
    int[][] queries = matrix(file, "batch.query_tensors");
    int[][] responses = matrix(file, "batch.response_tensors");
    int width = samples.stream().mapToInt(TrlxSample::promptWidth).max().orElseThrow();
    for (int i = 0; i < samples.size(); i++) {
      int[] prompt = samples.get(i).prompt();
      int[] response = samples.get(i).response();
      assertEquals(width, queries[i].length);
      assertEquals(
          -1, Arrays.mismatch(queries[i], width - prompt.length, width, prompt, 0, prompt.length));
      assertEquals(
          -1, Arrays.mismatch(responses[i], 0, response.length, response, 0, response.length));
    }
  }

  private static void train(
      Torch torch,
      JsonNode golden,
      PpoNetworks networks,
      TrlxStep.Settings settings,
      List<TrlxSample> samples) {
    JsonNode optimizer = golden.path("optimizer");
    List<Optimization.Part> parts = networks.trained(1);
    List<Experience> kept = samples.stream().map(sample -> sample.kept(0)).toList();
    List<int[]> all = List.of(IntStream.range(0, samples.size()).toArray());
    try (Optimization optimization =
        new Optimization(
            torch,
            parts,
            new AdamW.Settings(
                optimizer.path("betas").get(0).asDouble(),
                optimizer.path("betas").get(1).asDouble(),
                optimizer.path("eps").asDouble(),
                optimizer.path("weight_decay").asDouble()),
            new LearningRateSchedule(
                LrSchedulerType.CONSTANT, optimizer.path("lr").asDouble(), 0, 4, 0),
            0)) {
      TrlxStep trlxStep = new TrlxStep(torch, networks, optimization, parts, settings);
      for (JsonNode step : golden.path("steps")) {
        statistics(torch, step, networks, settings, samples);
        PpoStep.Outcome outcome = trlxStep.run(kept, all, found -> true);
        Numbers.assertGolden(step.path("loss").asDouble(), outcome.loss(), TRAINED, "loss");
        for (String part : List.of("policy", "value")) {
          Numbers.assertGolden(
              step.path("stats").path("losses/" + part + "_loss").asDouble(),
              outcome.figure("loss/" + part + "_avg"),
              TRAINED,
              part);
        }
        double norm = step.path("grad_norm").asDouble();
        Numbers.assertGolden(norm, outcome.update().gradientNorm(), TRAINED, "grad_norm");
      }
    }
  }

  /** What a step logs, and the gradients that the first one sums. */
  private static void statistics(
      Torch torch,
      JsonNode step,
      PpoNetworks networks,
      TrlxStep.Settings settings,
      List<TrlxSample> samples) {
    TrlxMiniBatch miniBatch =
        new TrlxMiniBatch(
            settings.version(), settings.places(), settings.padId(), samples, SETTINGS);
    List<Optimization.Part> parts = networks.trained(1);
    try (TensorScope scope = torch.scope()) {
      List<Gradients> sums =
          parts.stream().map(part -> new Gradients(torch.ops(), scope, part.weights())).toList();
      List<TrlxMiniBatch.Loss> seen = new ArrayList<>();
      networks.addGradients(
          miniBatch.batch(),
          null,
          (logProbs, values) -> {
            seen.add(miniBatch.loss(logProbs, values, SETTINGS));
            return seen.get(0).terms();
          },
          sums);
      assertSame(step.path("stats"), seen.get(0).statistics(), TRAINED);
      if (step.path("grad_norms").isObject()) {
        gradientNorms(torch, scope, step.path("grad_norms"), parts, sums);
      }
    }
  }

  private static void gradientNorms(
      Torch torch,
      TensorScope scope,
      JsonNode expected,
      List<Optimization.Part> parts,
      List<Gradients> sums) {
    Map<String, Double> found = new LinkedHashMap<>();
    for (int p = 0; p < parts.size(); p++) {
      Weights weights = parts.get(p).weights();
      for (int i = 0; i < weights.parameters().size(); i++) {
        String name = weights.parameters().get(i).name();
        found.put(
            name.startsWith("v_head.") ? name : "base_model." + name,
            (double) torch.ops().norm(scope, List.of(sums.get(p).all().get(i))));
      }
    }
    assertSame(expected, found, TRAINED);
  }

  /**
   * The logits of all real tokens, whose positions were counted without padding in all versions.
   */
  private static void after(
      Torch torch, SafetensorsFile file, PpoNetworks networks, List<TrlxSample> samples) {
    int width = samples.stream().mapToInt(TrlxSample::promptWidth).max().orElseThrow();
    int columns = (int) file.info("after.logits").shape()[1];
    int words = (int) file.info("after.logits").shape()[2];
    List<PlacedRow> rows = new ArrayList<>();
    List<Integer> compared = new ArrayList<>();
    for (int i = 0; i < samples.size(); i++) {
      int[] prompt = samples.get(i).prompt();
      int[] response = samples.get(i).response();
      int[] ids = IntStream.concat(Arrays.stream(prompt), Arrays.stream(response)).toArray();
      int padding = width - prompt.length;
      rows.add(new PlacedRow(ids, ids, 0, null));
      for (int t = 0; t < ids.length; t++) {
        compared.add(i * columns + padding + t);
      }
    }
    TokenBatch batch = TokenBatch.ofPlaced(rows);
    double[] logits = numbers(file, "after.logits");
    double[] values = numbers(file, "after.values");
    float[] foundValues = networks.score(batch, null).values();
    try (TensorScope scope = torch.scope()) {
      Tensor hidden = networks.policy().decoder().forward(scope, batch, Recording.NONE).hidden();
      float[] foundLogits = networks.policy().head().logits(scope, hidden).toFloats();
      for (int i = 0; i < compared.size(); i++) {
        Numbers.assertGolden(values[compared.get(i)], foundValues[i], TRAINED, "values");
        for (int word = 0; word < words; word++) {
          double expected = logits[compared.get(i) * words + word];
          // Sums of terms of about 1, also where they are near 0.
          double allowed = TRAINED * Math.abs(expected) + 1e-5;
          assertEquals(expected, foundLogits[i * words + word], allowed, "logits");
        }
      }
    }
  }
}
