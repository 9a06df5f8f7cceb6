package org.rlhf4j.sft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.checkpoint.TensorSource;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.Overlong;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.data.ScoreRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.generate.GenerationConfig;
import org.rlhf4j.core.generate.GenerationRun;
import org.rlhf4j.core.report.ClockedConsole;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.Provenance;
import org.rlhf4j.core.testing.TestTokenizers;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.text.Template;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;
import org.rlhf4j.core.train.TokenLoss;
import org.rlhf4j.core.train.TrainingRun;

class SftTrainerTest {
  private static final JsonMapper JSON = new JsonMapper();
  private static final int ROWS = 10;

  @TempDir Path temporary;
  private Path model;
  private Path train;

  @BeforeEach
  void files() throws IOException {
    model = TinyModel.causalLm(temporary.resolve("model"), 1);
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < ROWS; i++) {
      rows.add(
          "{\"prompt\": \"say %d: \", \"completion\": \"%s\"}".formatted(i, "ab".repeat(i + 1)));
    }
    train = Files.write(temporary.resolve("train.jsonl"), rows);
  }

  /** Steps of two micro-batches of two rows. */
  private ConfigBuilder<SftConfig> builder(String output) {
    return Config.of(SftConfig.class)
        .set("model_name_or_path", model.toString())
        .set("dataset_path", train.toString())
        .set("output_dir", temporary.resolve(output).toString())
        .set("dtype", "fp32")
        .set("learning_rate", 1e-2)
        .set("shuffle_dataset", false)
        .set("per_device_train_batch_size", 2)
        .set("gradient_accumulation_steps", 2)
        .set("logging_steps", 1)
        .set("max_steps", 2);
  }

  /** Cross-entropy that notes what it is asked, and fails from one of the questions on. */
  private static final class Noted implements TokenLoss {
    private final boolean constant;
    private final int failsAt;
    private final List<float[]> asked = new ArrayList<>();

    Noted(boolean constant, int failsAt) {
      this.constant = constant;
      this.failsAt = failsAt;
    }

    @Override
    public Result of(float[] logProbs, int[] rowOfTarget, long stepTargets) {
      asked.add(logProbs.clone());
      Result result = TokenLoss.meanOverTargets().of(logProbs, rowOfTarget, stepTargets);
      return asked.size() >= failsAt ? new Result(Double.NaN, result.ofLogProbs()) : result;
    }

    @Override
    public boolean hasConstantDerivative() {
      return constant;
    }
  }

  @Test
  void aLossHookIsAskedOnceForEachMicroBatch() {
    List<Map<String, Object>> usual =
        new SftTrainer(builder("usual").build(), RunContext.silent()).train();
    Noted noted = new Noted(false, Integer.MAX_VALUE);
    List<Map<String, Object>> metrics =
        new SftTrainer(builder("noted").build(), RunContext.silent(), noted).train();
    assertEquals(4, noted.asked.size());
    Noted constant = new Noted(true, Integer.MAX_VALUE);
    new SftTrainer(builder("constant").build(), RunContext.silent(), constant).train();
    assertEquals(8, constant.asked.size());
    for (int batch = 0; batch < 4; batch++) {
      float[] logProbs = noted.asked.get(batch);
      assertArrayEquals(new float[logProbs.length], constant.asked.get(2 * batch));
      assertArrayEquals(logProbs, constant.asked.get(2 * batch + 1), 1e-4f);
    }
    for (int step = 0; step < 2; step++) {
      for (String name : List.of(MetricNames.LOSS, MetricNames.GRAD_NORM)) {
        double expected = ((Number) usual.get(step).get(name)).doubleValue();
        assertEquals(expected, ((Number) metrics.get(step).get(name)).doubleValue(), 1e-5, name);
      }
    }
  }

  @Test
  void aStepThatIsNotFiniteLeavesRowsToRepeatItWith() throws IOException {
    RlhfException failure =
        assertThrows(
            RlhfException.class,
            () ->
                new SftTrainer(builder("out").build(), RunContext.silent(), new Noted(false, 3))
                    .train());
    assertEquals(ExitCode.NON_FINITE, failure.exitCode());
    Path file = temporary.resolve("out/non-finite-step-2.jsonl");
    assertTrue(failure.getMessage().startsWith("the loss is NaN at step 2"), failure.getMessage());
    assertTrue(failure.getMessage().endsWith("its rows are in " + file), failure.getMessage());

    // Rows 4 to 7 of the data, as the tokenizer makes them.
    List<TokenRow> expected;
    try (Tokenizer tokenizer = Tokenizer.load(model)) {
      expected =
          EncodedDataset.loadRows(List.of(train), encoder(tokenizer, true), 0).rows().subList(4, 8);
    }
    List<TokenRow> rows = EncodedDataset.loadRows(List.of(file), encoder(null, false), 0).rows();
    List<ScoreRow> scored =
        EncodedDataset.loadForScoring(List.of(file), encoder(null, false), 0, true).rows();
    assertEquals(4, rows.size());
    for (int i = 0; i < 4; i++) {
      assertArrayEquals(expected.get(i).ids(), rows.get(i).ids());
      assertArrayEquals(expected.get(i).targets(), rows.get(i).targets());
      assertArrayEquals(expected.get(i).targets(), scored.get(i).sides().get(0).targets());
    }
    new SftTrainer(
            builder("again").set("dataset_path", file.toString()).set("max_steps", 1).build(),
            RunContext.silent())
        .train();
  }

  private static RowEncoder encoder(Tokenizer tokenizer, boolean appendEos) {
    return new RowEncoder(
        tokenizer,
        TestTokenizers.BYTES_SIZE,
        new RowEncoder.Options(
            Template.NONE, TinyModel.POSITIONS, Overlong.ERROR, appendEos, true));
  }

  @Test
  void anEvaluationThatIsNotFiniteIsNamed() throws IOException {
    Path weights = model.resolve("model.safetensors");
    SafetensorsFile file = SafetensorsFile.open(weights);
    List<TensorSource> tensors = new ArrayList<>();
    for (var tensor : file.tensors()) {
      float[] values = file.readFloats(tensor.name());
      if (tensor.name().equals("model.norm.weight")) {
        Arrays.fill(values, 3e38f);
      }
      tensors.add(TensorSource.floats(tensor.name(), StoredType.F32, tensor.shape(), values));
    }
    SafetensorsWriter.writeModel(model, tensors);
    RlhfException failure =
        assertThrows(
            RlhfException.class,
            () ->
                new SftTrainer(
                        builder("out").set("eval_dataset_path", train.toString()).build(),
                        RunContext.silent())
                    .train());
    assertEquals(ExitCode.NON_FINITE, failure.exitCode());
    String message = failure.getMessage();
    assertTrue(message.startsWith("the evaluation after step 0 found eval_loss "), message);
    assertEquals("", Files.readString(temporary.resolve("out/metrics.jsonl")));
  }

  @Test
  void evaluationsLeaveAnswersOfTheModelThatTheyEvaluated() throws IOException {
    Path held = temporary.resolve("held.jsonl");
    Files.write(
        held,
        List.of(
            "{\"prompt\": \"say 3: \", \"completion\": \"abab\"}",
            "{\"prompt\": \"say \", \"completion\": \"b\"}"));
    ClockedConsole clocked = new ClockedConsole();
    RunContext context =
        new RunContext(
            clocked.console(),
            new StopSignal(),
            row -> clocked.pass(row.containsKey("loss") ? 1 : 8),
            List.of());
    new SftTrainer(builder("out").set("eval_dataset_path", held.toString()).build(), context)
        .train();
    // The evaluations' time is not that of the steps.
    assertTrue(
        clocked.text().contains("\ntrain: 2 steps in 2.0 s · 1 steps/s · loss "), clocked.text());
    Path prompts = temporary.resolve("prompts.jsonl");
    Files.write(prompts, List.of("{\"prompt\": \"say 3: \"}", "{\"prompt\": \"say \"}"));
    for (int step : new int[] {0, 2}) {
      Path answers = temporary.resolve("answers.jsonl");
      GenerationConfig generate =
          Config.of(GenerationConfig.class)
              .set("model_name_or_path", (step == 0 ? model : temporary.resolve("out")).toString())
              .set("dataset_path", prompts.toString())
              .set("output_path", answers.toString())
              .set("dtype", "fp32")
              .set("do_sample", false)
              .set("max_new_tokens", 64)
              .build();
      new GenerationRun(generate, Console.silent()).run();
      List<String> expected = Files.readAllLines(answers);
      List<String> found =
          Files.readAllLines(temporary.resolve("out/samples/step-" + step + ".jsonl"));
      assertEquals(2, found.size());
      for (int i = 0; i < 2; i++) {
        JsonNode row = JSON.readTree(expected.get(i));
        JsonNode sample = JSON.readTree(found.get(i));
        assertEquals(i, sample.path("index").asInt());
        assertEquals(row.path("prompt"), sample.path("prompt"));
        JsonNode response = row.path("responses").path(0);
        assertEquals(response.path("text"), sample.path("response"));
        assertEquals(response.path("token_ids").size(), sample.path("length").asInt());
        assertTrue(sample.path("score").isNull());
      }
    }
    assertFalse(Files.exists(temporary.resolve("out/samples/step-1.jsonl")));
  }

  @Test
  void aFolderThatARunIsWritingToIsRefusedAndLeftAsItIs() throws IOException {
    Path folder = temporary.resolve("out");
    Path growing = folder.resolve(".rlhf4j-partial-checkpoint-1");
    SftConfig config = builder("out").build();
    try (TrainingRun first =
        TrainingRun.open("sft", config, config.training(), RunContext.silent())) {
      assertEquals(folder, first.outputDir());
      Files.createDirectories(growing);
      RlhfException refused =
          assertThrows(
              RlhfException.class, () -> new SftTrainer(config, RunContext.silent()).train());
      assertEquals(ExitCode.ENVIRONMENT, refused.exitCode());
      assertTrue(refused.getMessage().contains(folder.toString()), refused.getMessage());
      assertTrue(Files.exists(growing));
    }
    // What a killed run leaves: its lock's file, and what it was writing.
    Files.writeString(folder.resolve(".rlhf4j-lock"), "");
    new SftTrainer(config, RunContext.silent()).train();
    assertFalse(Files.exists(growing));
    assertFalse(Files.exists(folder.resolve(".rlhf4j-lock")));
  }

  @Test
  void aRowOfMetricsHasTheMeansOfItsSteps() {
    List<Map<String, Object>> each =
        new SftTrainer(builder("each").set("max_steps", 3).build(), RunContext.silent()).train();
    List<Map<String, Object>> all =
        new SftTrainer(
                builder("all").set("max_steps", 3).set("logging_steps", 3).build(),
                RunContext.silent())
            .train();
    assertEquals(3, each.size());
    assertEquals(1, all.size());
    for (String name : List.of("loss", "mean_token_accuracy", "entropy")) {
      double mean = each.stream().mapToDouble(row -> (Double) row.get(name)).sum() / 3;
      assertEquals(mean, (Double) all.get(0).get(name), 1e-12, name);
    }
  }

  @Test
  void theDocumentsNameTheFilesReadAndTheFiguresOfTheModelKept() throws IOException {
    Path second = temporary.resolve("second.jsonl");
    Files.write(second, Files.readAllLines(train).subList(0, 3));
    // Steps so large that the model gets worse.
    List<Map<String, Object>> metrics =
        new SftTrainer(
                builder("out")
                    .set("dataset_path", List.of(train.toString(), second.toString()))
                    .set("eval_dataset_path", second.toString())
                    .set("eval_steps", 1)
                    .set("learning_rate", 1)
                    .set("max_steps", 4)
                    .set("save_best", true)
                    .build(),
                RunContext.silent())
            .train();
    Provenance provenance = Provenance.read(temporary.resolve("out"));
    assertEquals(
        List.of("train " + train + " 10", "train " + second + " 3", "eval " + second + " 3"),
        provenance.data().stream()
            .map(file -> file.role() + " " + file.path() + " " + file.rows())
            .toList());
    assertEquals(
        Provenance.sha256(model.resolve("model.safetensors")), provenance.startModel().sha256());

    List<Double> losses =
        metrics.stream()
            .filter(row -> row.containsKey("eval_loss"))
            .map(row -> (Double) row.get("eval_loss"))
            .toList();
    double best = Collections.min(losses);
    assertTrue(losses.get(losses.size() - 1) > best, losses.toString());
    String card = Files.readString(temporary.resolve("out/README.md"));
    assertTrue(card.contains("| `eval_loss` | " + best + " |"), card);
  }

  @Test
  void theProvenanceNamesVersionsAndKernelChoices() {
    new SftTrainer(builder("out").set("dtype", "auto").build(), RunContext.silent()).train();
    Provenance provenance = Provenance.read(temporary.resolve("out"));
    assertEquals(
        List.of("rlhf4j", "git", "djl", "pytorch"), List.copyOf(provenance.versions().keySet()));
    assertTrue(provenance.versions().get("djl").matches("\\d+\\.\\d+\\.\\d+.*"));
    assertTrue(provenance.versions().get("git").matches("unknown|[0-9a-f]{7,40}(-dirty)?"));
    Map<String, String> kernels = provenance.numerics().kernels();
    String rate = "(\\d+\\.\\d)";
    Matcher measured =
        Pattern.compile("auto: measured fp32 " + rate + ", bf16 " + rate + " GFLOP/s")
            .matcher(kernels.get("dtype"));
    assertTrue(measured.matches(), kernels.toString());
    boolean bf16 = Double.parseDouble(measured.group(2)) > Double.parseDouble(measured.group(1));
    assertEquals(bf16 ? "bf16" : "fp32", provenance.numerics().dtype());
    assertEquals("none", kernels.get("activation_checkpointing"));
    assertEquals("160", kernels.get("attention_query_block"));
  }
}
