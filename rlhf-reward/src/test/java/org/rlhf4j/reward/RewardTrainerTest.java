package org.rlhf4j.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.Overlong;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.data.TokenPair;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.testing.SameRuns;
import org.rlhf4j.core.testing.TestTokenizers;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.text.Template;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;

class RewardTrainerTest {
  private static final JsonMapper JSON = new JsonMapper();
  private static final int PAIRS = 11;

  @TempDir Path temporary;
  private Path languageModel;
  private Path train;
  private Path held;

  @BeforeEach
  void files() throws IOException {
    languageModel = TinyModel.causalLm(temporary.resolve("model"), 1);
    train = Files.write(temporary.resolve("train.jsonl"), pairs(PAIRS, 3));
    held = Files.write(temporary.resolve("held.jsonl"), pairs(5, 4));
  }

  /** Pairs of different lengths; some share a long prompt, some a short one. */
  private static List<String> pairs(int count, long seed) {
    Random random = new Random(seed);
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      String prompt = i % 3 == 0 ? "Q" : "Tell me about number " + random.nextInt(100) + ". ";
      rows.add(
          "{\"prompt\": \"%s\", \"chosen\": \"%s good\", \"rejected\": \"%s\", \"margin\": %s}"
              .formatted(
                  prompt,
                  "a".repeat(1 + random.nextInt(9)),
                  "b".repeat(1 + random.nextInt(12)),
                  random.nextInt(3) / 4.0));
    }
    return rows;
  }

  private ConfigBuilder<RewardConfig> builder(String output) {
    return Config.of(RewardConfig.class)
        .set("model_name_or_path", languageModel.toString())
        .set("dataset_path", train.toString())
        .set("output_dir", temporary.resolve(output).toString())
        .set("dtype", "fp32")
        .set("learning_rate", 1e-2)
        .set("per_device_train_batch_size", 2)
        .set("gradient_accumulation_steps", 2)
        .set("logging_steps", 1);
  }

  private static List<Map<String, Object>> train(ConfigBuilder<RewardConfig> builder) {
    return new RewardTrainer(builder.build(), RunContext.silent()).train();
  }

  private static double number(Map<String, Object> row, String name) {
    return ((Number) row.get(name)).doubleValue();
  }

  @Test
  void pairsAreLearnedFromALanguageModel() throws IOException {
    List<Map<String, Object>> metrics =
        train(
            builder("out")
                .set("eval_dataset_path", held.toString())
                .set("eval_steps", 5)
                .set("num_train_epochs", 6));

    List<Map<String, Object>> evaluations =
        metrics.stream().filter(row -> row.containsKey("eval_loss")).toList();
    // 11 pairs in steps of 4 are 3 steps an epoch: 18 steps, and the start.
    assertEquals(
        List.of(0L, 5L, 10L, 15L, 18L), evaluations.stream().map(r -> r.get("step")).toList());
    Map<String, Object> last = evaluations.get(4);
    assertEquals(1.0, last.get("eval_accuracy"));
    assertEquals(0L, last.get("eval_ties"));
    assertTrue(number(last, "eval_loss") < number(evaluations.get(0), "eval_loss"));
    assertTrue(number(last, "eval_margin") > 1);
    assertTrue(number(last, "eval_min_reward") < number(last, "eval_mean_reward"));
    assertTrue(number(last, "eval_mean_reward") < number(last, "eval_max_reward"));

    Path output = temporary.resolve("out");
    RewardStats stats = RewardStats.read(output);
    assertEquals(10, stats.count());
    assertEquals(number(last, "eval_mean_reward"), stats.mean(), 1e-12);
    assertTrue(stats.std() > 0);
    assertEquals(stats, RewardStats.read(output.resolve("checkpoint-18")));
    JsonNode statsFile = JSON.readTree(output.resolve(RewardStats.FILE_NAME).toFile());
    assertEquals(
        Set.of("mean", "std", "count"),
        new TreeSet<>(JSON.convertValue(statsFile, Map.class).keySet()));

    JsonNode config = JSON.readTree(output.resolve("config.json").toFile());
    assertEquals("LlamaForSequenceClassification", config.at("/architectures/0").asText());
    assertEquals(1, config.path("num_labels").asInt());
    assertEquals(TestTokenizers.PAD, config.path("pad_token_id").asInt());
    SafetensorsFile saved = SafetensorsFile.open(output.resolve("model.safetensors"));
    assertTrue(saved.info("score.weight").hasShape(new long[] {1, 16}));
    assertFalse(saved.contains("lm_head.weight"));
  }

  @Test
  void aFreshHeadIsAFunctionOfTheSeed() throws IOException {
    List<float[]> heads = new ArrayList<>();
    for (int seed : new int[] {1, 1, 2}) {
      String output = "seed" + heads.size();
      train(builder(output).set("seed", seed).set("max_steps", 1).set("learning_rate", 0));
      heads.add(
          SafetensorsFile.open(temporary.resolve(output).resolve("model.safetensors"))
              .readFloats("score.weight"));
    }
    assertArrayEquals(heads.get(0), heads.get(1));
    assertNotEquals(heads.get(0)[0], heads.get(2)[0]);
    double squares = 0;
    for (float weight : heads.get(0)) {
      squares += weight * weight;
    }
    // Normal with Hugging Face's default spread: 16 squares, of which four are as good as none.
    assertEquals(0.02, Math.sqrt(squares / 16), 0.01);
  }

  @Test
  void aRewardModelIsAStartToo() throws IOException {
    Path start = TinyModel.rewardModel(temporary.resolve("reward"), 5);
    train(
        builder("out")
            .set("model_name_or_path", start.toString())
            .set("max_steps", 1)
            .set("learning_rate", 0));
    SameRuns.assertSameFile(start, temporary.resolve("out"), "model.safetensors");
    assertFalse(RewardStats.existsIn(temporary.resolve("out")));
  }

  @ParameterizedTest
  @CsvSource({"4,1", "1,4", "3,2"})
  void splitIntoMicroBatchesAndOrderInABatchChangeNothing(int batchSize, int accumulation)
      throws IOException {
    // Every step of the first run has the same pairs as the other's: all of them.
    int all = batchSize * accumulation;
    List<String> rows = new ArrayList<>(pairs(all, 7));
    Files.write(train, rows);
    // A large epsilon keeps Adam from blowing up the rounding of gradients near zero.
    List<Map<String, Object>> one = train(split("one", all, 1));
    Collections.shuffle(rows, new Random(1));
    Files.write(train, rows);
    List<Map<String, Object>> other = train(split("other", batchSize, accumulation));
    for (int step = 0; step < one.size(); step++) {
      for (String name :
          List.of(MetricNames.LOSS, MetricNames.GRAD_NORM, MetricNames.MARGIN, "min_reward")) {
        double expected = number(one.get(step), name);
        assertEquals(expected, number(other.get(step), name), 1e-5 * Math.abs(expected), name);
      }
      assertEquals(one.get(step).get("accuracy"), other.get(step).get("accuracy"));
      assertEquals(one.get(step).get("num_tokens"), other.get(step).get("num_tokens"));
    }
    SafetensorsFile expected = SafetensorsFile.open(temporary.resolve("one/model.safetensors"));
    SafetensorsFile found = SafetensorsFile.open(temporary.resolve("other/model.safetensors"));
    for (var tensor : expected.tensors()) {
      assertArrayEquals(
          expected.readFloats(tensor.name()),
          found.readFloats(tensor.name()),
          1e-5f,
          tensor.name());
    }
  }

  private ConfigBuilder<RewardConfig> split(String output, int batchSize, int accumulation) {
    return builder(output)
        .set("per_device_train_batch_size", batchSize)
        .set("gradient_accumulation_steps", accumulation)
        .set("adam_epsilon", 1e-2)
        .set("center_rewards_coefficient", 0.01)
        .set("max_steps", 3);
  }

  @ParameterizedTest
  @CsvSource({"true,0", "false,0", "true,0.5", "false,0.5"})
  void marginsAndCentringEnterTheLoss(boolean useMargin, double coefficient) throws IOException {
    Files.writeString(
        train, "{\"prompt\": \"p\", \"chosen\": \"c\", \"rejected\": \"r\", \"margin\": 0.75}\n");
    Map<String, Object> row =
        train(
                builder("out")
                    .set("use_margin", useMargin)
                    .set("center_rewards_coefficient", coefficient))
            .get(0);
    double difference = number(row, MetricNames.MARGIN);
    double sum = 2 * number(row, MetricNames.MEAN_REWARD);
    double expected =
        Math.log(1 + Math.exp((useMargin ? 0.75 : 0) - difference)) + coefficient * sum * sum;
    assertEquals(expected, number(row, MetricNames.LOSS), 1e-9);
  }

  @Test
  void aLossOfOnesOwnIsTrainedAndEvaluatedOn() {
    // Only the chosen side counts: its score rises, whatever the other's does.
    PairLoss chosenOnly =
        (chosen, rejected, margins, stepPairs) -> {
          double sum = 0;
          float[] slopes = new float[chosen.length];
          for (int i = 0; i < chosen.length; i++) {
            sum -= chosen[i];
            slopes[i] = -1f / stepPairs;
          }
          return new PairLoss.Result(sum / stepPairs, slopes, new float[chosen.length]);
        };
    RewardConfig config =
        builder("out").set("eval_dataset_path", train.toString()).set("max_steps", 6).build();
    List<Map<String, Object>> metrics =
        new RewardTrainer(config, RunContext.silent(), chosenOnly).train();
    Map<String, Object> first = metrics.get(0);
    Map<String, Object> last = metrics.get(metrics.size() - 1);
    assertTrue(number(last, "eval_loss") < number(first, "eval_loss"));
    // mean chosen = mean of both sides + half the margin
    for (Map<String, Object> row : List.of(first, last)) {
      assertEquals(
          -(number(row, "eval_mean_reward") + number(row, "eval_margin") / 2),
          number(row, "eval_loss"),
          1e-5);
    }
  }

  @Test
  void theBestModelIsTheFinalOneIfAsked() throws IOException {
    Path start = TinyModel.rewardModel(temporary.resolve("reward"), 5);
    // The evaluation wants the contrary of the training: the start is the best.
    Files.write(
        held,
        Files.readAllLines(train).stream()
            .map(row -> row.replace("chosen", "was").replace("rejected", "chosen"))
            .map(row -> row.replace("was", "rejected"))
            .toList());
    List<Map<String, Object>> metrics =
        train(
            builder("out")
                .set("model_name_or_path", start.toString())
                .set("eval_dataset_path", held.toString())
                .set("max_steps", 3)
                .set("save_best", true));
    double first = number(metrics.get(0), "eval_loss");
    double last = number(metrics.get(metrics.size() - 1), "eval_loss");
    assertTrue(first < last, first + " " + last);
    Path output = temporary.resolve("out");
    SameRuns.assertSameFile(start, output, "model.safetensors");
    assertEquals(
        number(metrics.get(0), "eval_mean_reward"), RewardStats.read(output).mean(), 1e-12);
    assertNotEquals(RewardStats.read(output), RewardStats.read(output.resolve("checkpoint-3")));
  }

  /** How a run ends early. */
  enum End {
    STOPPED,
    CRASHED
  }

  @ParameterizedTest
  @CsvSource({"fp32,STOPPED", "bf16,STOPPED", "fp32,CRASHED", "bf16,CRASHED"})
  void aResumedRunIsTheUninterruptedOneBitForBit(String dtype, End end) throws IOException {
    train(resumable("whole", dtype));
    Path whole = temporary.resolve("whole");

    StopSignal stop = new StopSignal();
    RunContext interrupted =
        new RunContext(
            Console.silent(),
            stop,
            row -> {
              // An evaluation row, between two rows of training metrics.
              if (row.get(MetricNames.STEP).equals(5L)) {
                if (end == End.CRASHED) {
                  throw new IllegalStateException("power cut");
                }
                stop.request(ExitCode.TERMINATED);
              }
            },
            List.of());
    RewardConfig config = resumable("cut", dtype).build();
    Path cut = temporary.resolve("cut");
    if (end == End.CRASHED) {
      assertThrows(
          IllegalStateException.class, () -> new RewardTrainer(config, interrupted).train());
      assertTrue(Files.exists(cut.resolve("checkpoint-4")));
    } else {
      new RewardTrainer(config, interrupted).train();
      assertTrue(Files.exists(cut.resolve("checkpoint-5")));
    }
    assertFalse(Files.exists(cut.resolve("model.safetensors")));

    train(resumable("cut", dtype).set("resume_from_checkpoint", "auto"));
    SameRuns.assertSame(whole, cut);
    SameRuns.assertSameFile(whole, cut, RewardStats.FILE_NAME);
    for (String name : List.of("optimizer.safetensors", "model.safetensors", "config.json")) {
      SameRuns.assertSameFile(whole.resolve("checkpoint-8"), cut.resolve("checkpoint-8"), name);
    }
    JsonNode config1 = JSON.readTree(whole.resolve("config.json").toFile());
    assertEquals(config1, JSON.readTree(cut.resolve("config.json").toFile()));
  }

  private ConfigBuilder<RewardConfig> resumable(String output, String dtype) {
    return builder(output)
        .set("dtype", dtype)
        .set("eval_dataset_path", held.toString())
        .set("eval_steps", 5)
        .set("logging_steps", 3)
        .set("save_steps", 4)
        .set("weight_decay", 0.1)
        .set("warmup_steps", 2)
        .set("center_rewards_coefficient", 0.01)
        .set("max_steps", 8);
  }

  @Test
  void aCheckpointWithoutAnEvaluationSinceResumesWithTheStatisticsOfTheLastOne()
      throws IOException {
    train(resumable("whole", "fp32").set("eval_steps", 3).set("save_total_limit", 0));
    Path checkpoint = temporary.resolve("whole/checkpoint-4");
    RewardStats atStep3 = RewardStats.read(checkpoint);
    train(
        resumable("branch", "fp32")
            .set("eval_strategy", "no")
            .set("resume_from_checkpoint", checkpoint.toString()));
    assertEquals(atStep3, RewardStats.read(temporary.resolve("branch/checkpoint-8")));
    SameRuns.assertSameFile(
        temporary.resolve("whole"), temporary.resolve("branch"), "model.safetensors");
  }

  @Test
  void otherDataOrKeysOnResumeAreErrorsThatNameThem() throws IOException {
    train(resumable("out", "fp32"));
    ConfigBuilder<RewardConfig> changed =
        resumable("out", "fp32")
            .set("resume_from_checkpoint", "auto")
            .set("center_rewards_coefficient", 0.02);
    RlhfException failure = assertThrows(RlhfException.class, () -> train(changed));
    assertEquals(ExitCode.CONFIG, failure.exitCode());
    assertTrue(failure.getMessage().contains("center_rewards_coefficient"), failure.getMessage());

    Files.write(train, pairs(PAIRS, 99));
    failure =
        assertThrows(
            RlhfException.class,
            () -> train(resumable("out", "fp32").set("resume_from_checkpoint", "auto")));
    assertEquals(ExitCode.CONFIG, failure.exitCode());
    assertTrue(failure.getMessage().contains("dataset_path"), failure.getMessage());
  }

  @Test
  void overlongAndEqualPairsAreLeftOutAndCounted() throws IOException {
    List<String> rows = new ArrayList<>(pairs(4, 3));
    rows.add("{\"prompt\": \"p\", \"chosen\": \"same\", \"rejected\": \"same\"}");
    rows.add(
        "{\"prompt\": \"p\", \"chosen\": \"c\", \"rejected\": \"%s\"}".formatted("r".repeat(60)));
    rows.add(
        "{\"prompt\": \"p\", \"chosen\": \"%s\", \"rejected\": \"r\"}".formatted("c".repeat(60)));
    Files.write(train, rows);
    Files.write(held, rows);
    ByteArrayOutputStream screen = new ByteArrayOutputStream();
    RunContext context =
        new RunContext(
            Console.plain(new PrintStream(screen, true, StandardCharsets.UTF_8), 120),
            new StopSignal(),
            row -> {},
            List.of());
    RewardConfig config =
        builder("out").set("max_length", 50).set("eval_dataset_path", held.toString()).build();
    new RewardTrainer(config, context).train();
    String shown = screen.toString(StandardCharsets.UTF_8);
    List<String> lines = shown.lines().filter(line -> line.contains("chosen equals")).toList();
    assertEquals(2, lines.size(), shown);
    for (String line : lines) {
      assertTrue(line.contains("7 rows read, 4 kept, 3 dropped"), line);
      assertTrue(line.contains("2 longer than max_length"), line);
      assertTrue(line.contains("1 chosen equals rejected"), line);
    }
    assertEquals(8, RewardStats.read(temporary.resolve("out")).count());
  }

  @ParameterizedTest
  @ValueSource(strings = {"{\"text\": \"no pair\"}", "{\"input_ids\": [1, 2]}"})
  void rowsWithoutTwoSidesAreErrorsByFileAndLine(String row) throws IOException {
    Files.writeString(train, row + "\n");
    RlhfException failure = assertThrows(RlhfException.class, () -> train(builder("out")));
    assertEquals(ExitCode.INPUT, failure.exitCode());
    assertTrue(failure.getMessage().contains("train.jsonl"), failure.getMessage());
    assertTrue(failure.getMessage().contains("1"), failure.getMessage());
    try (Stream<Path> files = Files.list(temporary.resolve("out"))) {
      assertEquals(List.of(), files.toList());
    }
  }

  @Test
  void aPadTokenThatEndsRowsIsAnErrorThatSaysSo() throws IOException {
    // With the end token as the only pad token, Hugging Face would read one token early.
    Files.writeString(
        languageModel.resolve("tokenizer_config.json"),
        "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    RlhfException failure =
        assertThrows(RlhfException.class, () -> train(builder("append").set("append_eos", true)));
    assertEquals(ExitCode.CONFIG, failure.exitCode());
    assertTrue(failure.getMessage().contains("append_eos"), failure.getMessage());
    assertTrue(failure.getMessage().contains("pad_token_id"), failure.getMessage());

    train(builder("without").set("max_steps", 1));
    JsonNode config = JSON.readTree(temporary.resolve("without/config.json").toFile());
    assertEquals(TestTokenizers.EOS, config.path("pad_token_id").asInt());

    Files.writeString(
        train, "{\"chosen_input_ids\": [256, 65, 257], \"rejected_input_ids\": [256, 66]}\n");
    failure = assertThrows(RlhfException.class, () -> train(builder("ids")));
    assertEquals(ExitCode.CONFIG, failure.exitCode());
    assertTrue(
        failure.getMessage().startsWith(train + ":1: ends with token 257"), failure.getMessage());
    assertTrue(failure.getMessage().contains("pad_token_id"), failure.getMessage());
  }

  /** The usual loss, which fails on every call of so many pairs, from one call on. */
  private static PairLoss failing(int pairs, int failsAt, List<Integer> calls) {
    return (chosen, rejected, margins, stepPairs) -> {
      calls.add(chosen.length);
      PairLoss.Result result = RewardLoss.meanOverPairs(0).of(chosen, rejected, margins, stepPairs);
      return chosen.length == pairs && calls.size() >= failsAt
          ? new PairLoss.Result(Double.NaN, result.ofChosen(), result.ofRejected())
          : result;
    };
  }

  @Test
  void aLossHookIsAskedOnceForEachMicroBatchAndOnceForAnEvaluation() {
    List<Integer> calls = new ArrayList<>();
    RewardConfig config =
        builder("out").set("eval_dataset_path", held.toString()).set("max_steps", 2).build();
    new RewardTrainer(config, RunContext.silent(), failing(0, 0, calls)).train();
    // Five pairs are evaluated, two steps of two micro-batches are trained on.
    assertEquals(List.of(5, 2, 2, 2, 2, 5), calls);
  }

  @Test
  void aLossThatIsNotFiniteStopsTheRunAndKeepsItsRows() throws IOException {
    RewardConfig config = builder("out").set("shuffle_dataset", false).build();
    RlhfException failure =
        assertThrows(
            RlhfException.class,
            () ->
                new RewardTrainer(config, RunContext.silent(), failing(2, 4, new ArrayList<>()))
                    .train());
    assertEquals(ExitCode.NON_FINITE, failure.exitCode());
    Path file = temporary.resolve("out/non-finite-step-2.jsonl");
    assertTrue(failure.getMessage().startsWith("the loss is NaN at step 2"), failure.getMessage());
    assertTrue(failure.getMessage().endsWith(file.toString()), failure.getMessage());
    assertFalse(Files.exists(temporary.resolve("out/model.safetensors")));

    // Pairs 4 to 7 of the data, as the tokenizer makes them.
    List<TokenPair> expected;
    try (Tokenizer tokenizer = Tokenizer.load(languageModel)) {
      expected = EncodedDataset.loadPairs(List.of(train), encoder(tokenizer), 0).rows();
    }
    List<TokenPair> found = EncodedDataset.loadPairs(List.of(file), encoder(null), 0).rows();
    assertEquals(4, found.size());
    for (int i = 0; i < 4; i++) {
      TokenPair pair = expected.get(4 + i);
      assertArrayEquals(pair.chosen().ids(), found.get(i).chosen().ids());
      assertArrayEquals(pair.rejected().ids(), found.get(i).rejected().ids());
      assertEquals(pair.margin(), found.get(i).margin());
    }
    assertTrue(expected.subList(4, 8).stream().anyMatch(pair -> pair.margin() > 0));
    train(builder("again").set("dataset_path", file.toString()));
  }

  private static RowEncoder encoder(Tokenizer tokenizer) {
    return new RowEncoder(
        tokenizer,
        TestTokenizers.BYTES_SIZE,
        new RowEncoder.Options(Template.NONE, TinyModel.POSITIONS, Overlong.ERROR, false, true));
  }

  @Test
  void anEvaluationThatIsNotFiniteIsNamed() {
    RewardConfig config =
        builder("out").set("eval_dataset_path", held.toString()).set("eval_steps", 2).build();
    RlhfException failure =
        assertThrows(
            RlhfException.class,
            () ->
                new RewardTrainer(config, RunContext.silent(), failing(5, 2, new ArrayList<>()))
                    .train());
    assertEquals(ExitCode.NON_FINITE, failure.exitCode());
    String message = failure.getMessage();
    assertTrue(message.startsWith("the evaluation after step 2 found eval_loss NaN"), message);
  }

  @Test
  void aStopBreaksAnEvaluationOffAndTheRunGoesOnWithIt() throws IOException {
    train(resumable("whole", "fp32").set("logging_steps", 5));
    StopSignal stop = new StopSignal();
    RunContext interrupted =
        new RunContext(
            Console.silent(),
            stop,
            row -> {
              if (row.get(MetricNames.STEP).equals(5L)) {
                stop.request(ExitCode.TERMINATED);
              }
            },
            List.of());
    RewardConfig config = resumable("cut", "fp32").set("logging_steps", 5).build();
    new RewardTrainer(config, interrupted).train();
    Path cut = temporary.resolve("cut");
    assertTrue(Files.exists(cut.resolve("checkpoint-5")));
    assertEquals(2, SameRuns.metrics(cut).size());
    assertFalse(SameRuns.metrics(cut).get(1).containsKey("eval_loss"));
    train(resumable("cut", "fp32").set("logging_steps", 5).set("resume_from_checkpoint", "auto"));
    SameRuns.assertSame(temporary.resolve("whole"), cut);
    SameRuns.assertSameFile(temporary.resolve("whole"), cut, RewardStats.FILE_NAME);
  }

  @Test
  void aStopWhileRowsAreReadLeavesNothing() throws IOException {
    StopSignal stop = new StopSignal();
    stop.request(ExitCode.INTERRUPTED);
    RunContext context = new RunContext(Console.silent(), stop, row -> {}, List.of());
    assertEquals(List.of(), new RewardTrainer(builder("out").build(), context).train());
    try (Stream<Path> files = Files.list(temporary.resolve("out"))) {
      assertEquals(List.of(), files.toList());
    }
  }

  @Test
  void evaluationsLeaveTheirScores() throws IOException {
    List<Map<String, Object>> metrics =
        train(builder("out").set("eval_dataset_path", held.toString()).set("max_steps", 2));
    List<String> rows = Files.readAllLines(held);
    List<String> samples = Files.readAllLines(temporary.resolve("out/samples/step-2.jsonl"));
    assertEquals(2 * rows.size(), samples.size());
    double sum = 0;
    for (int i = 0; i < samples.size(); i++) {
      JsonNode row = JSON.readTree(rows.get(i / 2));
      JsonNode sample = JSON.readTree(samples.get(i));
      assertEquals(i / 2, sample.path("index").asInt());
      assertEquals(row.path("prompt"), sample.path("prompt"));
      assertEquals(row.path(i % 2 == 0 ? "chosen" : "rejected"), sample.path("response"));
      assertEquals(sample.path("response").asText().length(), sample.path("length").asInt());
      sum += sample.path("score").asDouble();
    }
    Map<String, Object> last = metrics.get(metrics.size() - 1);
    assertEquals(number(last, "eval_mean_reward"), sum / samples.size(), 1e-6);
    assertTrue(Files.exists(temporary.resolve("out/samples/step-0.jsonl")));
  }
}
