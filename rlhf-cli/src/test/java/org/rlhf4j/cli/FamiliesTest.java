package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.config.SaveDtype;
import org.rlhf4j.core.generate.GenerationConfig;
import org.rlhf4j.core.generate.GenerationRun;
import org.rlhf4j.core.generate.ScoreConfig;
import org.rlhf4j.core.generate.ScoringRun;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ModelHead;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.testing.TinyFamilies;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.core.train.AdapterMerge;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.reward.RewardConfig;
import org.rlhf4j.reward.RewardTrainer;
import org.rlhf4j.sft.SftConfig;
import org.rlhf4j.sft.SftTrainer;

/**
 * What the README's table of families says, a test for each column and a run of it for each row:
 * every family is loaded, trained, trained by adapters, generates, and carries a reward head. Right
 * numbers are the matter of the golden files.
 */
class FamiliesTest {
  private static final JsonMapper JSON = new JsonMapper();

  @TempDir Path temporary;

  static Stream<String> families() {
    return ModelFamilies.modelTypes().stream();
  }

  @Test
  void everyFamilyHasATinyModel() throws IOException {
    assertEquals(
        new TreeSet<>(ModelFamilies.modelTypes()), new TreeSet<>(TinyFamilies.modelTypes()));
    assertEquals(
        ModelFamilies.modelTypes().size(), new HashSet<>(ModelFamilies.modelTypes()).size());
  }

  /** A family that is not in the README, or is there with another class, fails here. */
  @Test
  void theReadmeHasARowForEachFamily() throws IOException {
    List<List<String>> table = new ArrayList<>();
    for (String line : Files.readAllLines(ReadmeTest.ROOT.resolve("README.md"))) {
      boolean header = line.startsWith("| `model_type` |");
      boolean goesOn = !table.isEmpty() && line.startsWith("|") && !line.startsWith("|---");
      if (header || goesOn) {
        table.add(Arrays.stream(line.substring(1).split("\\|")).map(String::strip).toList());
      } else if (table.size() > 1) {
        break;
      }
    }
    assertEquals(
        List.of("load", "train", "LoRA", "generate", "reward head"), table.get(0).subList(2, 7));
    List<String> expected = new ArrayList<>();
    List<String> found = new ArrayList<>();
    for (String family : ModelFamilies.modelTypes()) {
      expected.add(
          "`" + family + "` `" + TinyFamilies.architecture(family) + "` yes yes yes yes yes");
    }
    table.stream().skip(1).forEach(row -> found.add(String.join(" ", row.subList(0, 7))));
    assertEquals(expected, found);
  }

  @ParameterizedTest
  @MethodSource("families")
  void loads(String family) throws IOException {
    ModelFolder folder = ModelFolder.open(model(family));
    assertEquals(family, ModelFamilies.of(folder).family().modelType());
    try (Torch torch = Torch.open("cpu");
        CausalLm model =
            ModelLoader.causalLm(torch, folder, new ModelLoader.Options(ElementType.FP32, false))) {
      assertEquals(259, model.decoder().spec().vocabularySize());
    }
  }

  @ParameterizedTest
  @MethodSource("families")
  void trains(String family) throws IOException {
    Path start = model(family);
    Path output = temporary.resolve("out");
    SftConfig config = training(SftConfig.class, start, rows(), output).build();
    requireFallingLoss(new SftTrainer(config, RunContext.silent()).train());

    // All that is trained has changed, and the folder is one of the same family.
    ModelFolder before = ModelFolder.open(start);
    ModelFolder after = ModelFolder.open(output);
    assertEquals(before.config().path("model_type"), after.config().path("model_type"));
    assertEquals(new TreeSet<>(before.tensorNames()), new TreeSet<>(after.tensorNames()));
    for (String name : before.tensorNames()) {
      assertFalse(Arrays.equals(before.readFloats(name), after.readFloats(name)), name);
    }
    assertEquals(3, generated(output).size());
  }

  @ParameterizedTest
  @MethodSource("families")
  void trainsAdapters(String family) throws IOException {
    Path start = model(family);
    byte[] weights = Files.readAllBytes(start.resolve("model.safetensors"));
    Path adapter = temporary.resolve("adapter");
    SftConfig config =
        training(SftConfig.class, start, rows(), adapter)
            .set("use_peft", true)
            .set("lora_r", 4)
            .build();
    requireFallingLoss(new SftTrainer(config, RunContext.silent()).train());

    assertArrayEquals(weights, Files.readAllBytes(start.resolve("model.safetensors")));
    assertTrue(Files.exists(adapter.resolve("adapter_config.json")));
    assertTrue(Files.exists(adapter.resolve("adapter_model.safetensors")));
    assertFalse(Files.exists(adapter.resolve("model.safetensors")));

    Path merged = merged(adapter);
    ModelFolder before = ModelFolder.open(start);
    ModelFolder after = ModelFolder.open(merged);
    assertEquals(family, ModelFamilies.of(after).family().modelType());
    assertEquals(new TreeSet<>(before.tensorNames()), new TreeSet<>(after.tensorNames()));
    List<JsonNode> answers = generated(adapter);
    assertEquals(3, answers.size());
    requireSameAnswers(answers, generated(merged));
    assertNotEquals(answers, generated(start));
  }

  @ParameterizedTest
  @MethodSource("families")
  void generates(String family) throws IOException {
    List<JsonNode> answers = generated(model(family));
    assertEquals(3, answers.size());
    for (JsonNode answer : answers) {
      int tokens = answer.path("token_ids").size();
      boolean ended = answer.path("finish_reason").asText().equals("eos");
      assertTrue(ended ? tokens >= 1 && tokens <= 4 : tokens == 4, answer.toString());
      answer.path("log_probs").forEach(each -> assertTrue(each.asDouble() <= 0));
    }
    // Side by side or one by one.
    requireSameAnswers(answers, generated(temporary.resolve(family), 1));
  }

  @ParameterizedTest
  @MethodSource("families")
  void carriesARewardHead(String family) throws IOException {
    Path output = temporary.resolve("out");
    RewardConfig config = training(RewardConfig.class, model(family), pairs(), output).build();
    requireFallingLoss(new RewardTrainer(config, RunContext.silent()).train());

    ModelFamilies.Model saved = ModelFamilies.of(ModelFolder.open(output));
    assertEquals(family, saved.family().modelType());
    assertEquals(ModelHead.SEQUENCE_CLASSIFICATION, saved.head());
    double[] scores = scores(output);
    assertEquals(2, scores.length);
    assertTrue(Arrays.stream(scores).allMatch(Double::isFinite));
    assertNotEquals(scores[0], scores[1]);
    assertArrayEquals(scores, scores(output));
  }

  @ParameterizedTest
  @MethodSource("families")
  void trainsAdaptersUnderARewardHead(String family) throws IOException {
    Path adapter = temporary.resolve("adapter");
    RewardConfig config =
        training(RewardConfig.class, model(family), pairs(), adapter)
            .set("use_peft", true)
            .set("lora_r", 4)
            .build();
    requireFallingLoss(new RewardTrainer(config, RunContext.silent()).train());
    assertFalse(Files.exists(adapter.resolve("model.safetensors")));
    assertArrayEquals(scores(merged(adapter)), scores(adapter), 1e-4);
  }

  private Path model(String family) throws IOException {
    return TinyFamilies.causalLm(temporary.resolve(family), family, 1);
  }

  private Path write(String name, String... lines) throws IOException {
    return Files.write(temporary.resolve(name), List.of(lines));
  }

  /** Two steps over all rows. */
  private static <T extends Record> ConfigBuilder<T> training(
      Class<T> type, Path model, Path rows, Path output) {
    return Config.of(type)
        .set("model_name_or_path", model.toString())
        .set("dataset_path", rows.toString())
        .set("output_dir", output.toString())
        .set("dtype", "fp32")
        .set("device", "cpu")
        .set("learning_rate", 1e-2)
        .set("lr_scheduler_type", "constant")
        .set("per_device_train_batch_size", 2)
        .set("logging_steps", 1)
        .set("max_steps", 2);
  }

  private Path rows() throws IOException {
    return write(
        "rows.jsonl",
        "{\"prompt\": \"count \", \"completion\": \"aaaa\"}",
        "{\"prompt\": \"go on: \", \"completion\": \"aaaaaaaa\"}");
  }

  private Path pairs() throws IOException {
    return write(
        "pairs.jsonl",
        "{\"prompt\": \"count \", \"chosen\": \"aaaa\", \"rejected\": \"b\"}",
        "{\"prompt\": \"go on: \", \"chosen\": \"aa\", \"rejected\": \"bbbbbb\"}");
  }

  private Path merged(Path adapter) {
    Path merged = temporary.resolve("merged");
    AdapterMerge.run(
        adapter, merged, new AdapterMerge.Saving(SaveDtype.SOURCE, 1 << 20), Console.silent());
    return merged;
  }

  private static void requireFallingLoss(List<Map<String, Object>> metrics) {
    assertTrue(number(metrics.get(1), MetricNames.LOSS) < number(metrics.get(0), MetricNames.LOSS));
  }

  private static void requireSameAnswers(List<JsonNode> expected, List<JsonNode> found) {
    assertEquals(expected.size(), found.size());
    for (int i = 0; i < expected.size(); i++) {
      assertEquals(expected.get(i).path("token_ids"), found.get(i).path("token_ids"));
      assertArrayEquals(logProbs(expected.get(i)), logProbs(found.get(i)), 1e-4);
    }
  }

  private static double[] logProbs(JsonNode answer) {
    return StreamSupport.stream(answer.path("log_probs").spliterator(), false)
        .mapToDouble(JsonNode::asDouble)
        .toArray();
  }

  private static double number(Map<String, Object> row, String name) {
    return ((Number) row.get(name)).doubleValue();
  }

  private List<JsonNode> generated(Path model) throws IOException {
    return generated(model, 3);
  }

  /** Greedy answers of four tokens at most to three prompts of different lengths. */
  private List<JsonNode> generated(Path model, int batchSize) throws IOException {
    Path prompts =
        write(
            "prompts.jsonl",
            "{\"prompt\": \"count \"}",
            "{\"prompt\": \"a\"}",
            "{\"prompt\": \"go on and on: \"}");
    Path answers = temporary.resolve("answers.jsonl");
    Files.deleteIfExists(answers);
    GenerationConfig config =
        Config.of(GenerationConfig.class)
            .set("model_name_or_path", model.toString())
            .set("dataset_path", prompts.toString())
            .set("output_path", answers.toString())
            .set("dtype", "fp32")
            .set("device", "cpu")
            .set("do_sample", false)
            .set("batch_size", batchSize)
            .set("max_new_tokens", 4)
            .build();
    new GenerationRun(config, Console.silent()).run();
    return lines(answers).stream().map(row -> row.path("responses").path(0)).toList();
  }

  private double[] scores(Path model) throws IOException {
    Path texts = write("texts.jsonl", "{\"text\": \"count aaaa\"}", "{\"text\": \"count b\"}");
    Path scores = temporary.resolve("scores.jsonl");
    Files.deleteIfExists(scores);
    ScoreConfig config =
        Config.of(ScoreConfig.class)
            .set("model_name_or_path", model.toString())
            .set("dataset_path", texts.toString())
            .set("output_path", scores.toString())
            .set("dtype", "fp32")
            .set("device", "cpu")
            .build();
    new ScoringRun(config, Console.silent()).run();
    return lines(scores).stream().mapToDouble(row -> row.path("score").asDouble()).toArray();
  }

  private static List<JsonNode> lines(Path file) throws IOException {
    try (Stream<String> lines = Files.lines(file)) {
      return lines.map(FamiliesTest::parsed).toList();
    }
  }

  private static JsonNode parsed(String line) {
    try {
      return JSON.readTree(line);
    } catch (IOException e) {
      throw new IllegalArgumentException(line, e);
    }
  }
}
