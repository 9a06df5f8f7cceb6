package org.rlhf4j.core.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.Flattened.Default;
import org.rlhf4j.core.text.Template;

class ConfigTest {
  /** A method's record as the trainers have them. */
  record Method(
      @Flattened(
              value = {
                @Default(key = "learning_rate", value = "3e-6"),
                @Default(key = "lr_scheduler_type", value = "linear"),
                @Default(key = "max_length", value = "64"),
                @Default(key = "overlong", value = "drop"),
                @Default(key = "append_eos", value = "true")
              },
              without = {"num_train_epochs"})
          TrainingConfig training,
      @Key(doc = "Stop texts.", defaultValue = Key.NONE) List<String> stop,
      @Key(doc = "A pattern.", defaultValue = Key.NONE) String pattern,
      @Key(doc = "Passes.", defaultValue = "2", aliases = "num_train_epochs") int passes) {}

  @TempDir Path folder;

  private ConfigBuilder<Method> complete() {
    return Config.of(Method.class)
        .set("model_name_or_path", "model")
        .set("dataset_path", List.of(Path.of("a.jsonl"), Path.of("b.jsonl")))
        .set("output_dir", Path.of("out"));
  }

  private Path yaml(String text) throws IOException {
    return Files.writeString(folder.resolve("c.yaml"), text);
  }

  private static List<String> problems(ConfigBuilder<?> builder) {
    RlhfException error = assertThrows(RlhfException.class, builder::build);
    assertEquals(ExitCode.CONFIG, error.exitCode());
    return error.getMessage().lines().toList();
  }

  @Test
  void defaultsComeFromTheMethodThenFromTheSharedRecord() {
    Method config = complete().build();
    TrainingConfig training = config.training();
    assertEquals(3e-6, training.learningRate());
    assertEquals(LrSchedulerType.LINEAR, training.lrSchedulerType());
    assertEquals(64, training.maxLength());
    assertTrue(training.appendEos());
    // The table "Keys of every trainer" of the interface.
    assertEquals(DtypeChoice.AUTO, training.dtype());
    assertEquals(SaveDtype.SOURCE, training.saveDtype());
    assertEquals("auto", training.device());
    assertEquals(42L, training.seed());
    assertEquals(8, training.perDeviceTrainBatchSize());
    assertEquals(1, training.gradientAccumulationSteps());
    assertEquals(1.0, training.numTrainEpochs());
    assertEquals(-1, training.maxSteps());
    assertEquals(0, training.warmupSteps());
    assertEquals(0.0, training.warmupRatio());
    assertEquals(0.0, training.minLrRate());
    assertEquals(0.0, training.weightDecay());
    assertEquals(0.9, training.adamBeta1());
    assertEquals(0.999, training.adamBeta2());
    assertEquals(1e-8, training.adamEpsilon());
    assertEquals(1.0, training.maxGradNorm());
    assertTrue(training.shuffleDataset());
    assertEquals(0, training.maxBadRows());
    assertEquals(10, training.loggingSteps());
    assertEquals(100, training.evalSteps());
    assertEquals(SaveStrategy.STEPS, training.saveStrategy());
    assertEquals(500, training.saveSteps());
    assertEquals(2, training.saveTotalLimit());
    assertEquals(new ResumeFrom.None(), training.resumeFromCheckpoint());
    assertEquals(ReportTo.NONE, training.reportTo());
    assertEquals(List.of(), training.evalDatasetPath());
    assertEquals(List.of(), config.stop());
    assertNull(config.pattern());
  }

  @Test
  void evaluationDefaultsToStepsOnlyWithAnEvaluationSet() {
    assertEquals(EvalStrategy.NO, complete().build().training().effectiveEvalStrategy());
    Method evaluated = complete().set("eval_dataset_path", "e.jsonl").build();
    assertEquals(EvalStrategy.STEPS, evaluated.training().effectiveEvalStrategy());
    Method off = complete().set("eval_dataset_path", "e.jsonl").set("eval_strategy", "no").build();
    assertEquals(EvalStrategy.NO, off.training().effectiveEvalStrategy());
  }

  @Test
  void commandLineGoesBeforeTheFile() throws IOException {
    Path file =
        yaml(
            """
            # comment
            model_name_or_path: m
            dataset_path: [a.jsonl, "b c.jsonl"]
            output_dir: o
            learning_rate: 5e-7
            seed: 1
            save_strategy: no
            stop:
              - "x, y"
              - "\\n\\nHuman:"
            append_eos: false
            """);
    Method config =
        Config.of(Method.class).option("seed", "7").file(file).option("pattern", "#").build();
    assertEquals(7L, config.training().seed());
    assertEquals(5e-7, config.training().learningRate());
    assertEquals(SaveStrategy.NO, config.training().saveStrategy());
    assertEquals(
        List.of(Path.of("a.jsonl"), Path.of("b c.jsonl")), config.training().datasetPath());
    assertEquals(List.of("x, y", "\n\nHuman:"), config.stop());
    assertEquals("#", config.pattern());
  }

  @Test
  void listsAreCommaSeparatedOnTheCommandLine() {
    Method config = complete().option("stop", "Human:,###").build();
    assertEquals(List.of("Human:", "###"), config.stop());
    assertEquals(List.of(), complete().option("stop", "none").build().stop());
  }

  @Test
  void allProblemsAreReportedAtOnce() throws IOException {
    Path file =
        yaml(
            """
            learning_rte: 1
            seed: many
            warmup_steps: 3
            warmup_ratio: 0.1
            dtype: fp16
            seed: 4
            adam_beta1: 1
            stop: {a: b}
            """);
    List<String> lines =
        problems(
            Config.of(Method.class).file(file).option("max_steps", "0").option("eval_step", "8"));
    assertEquals(
        List.of(
            file + " line 1: unknown key 'learning_rte', did you mean 'learning_rate'?",
            file + " line 6: seed: set twice, first as " + file + " line 2: seed",
            "unknown option '--eval_step', did you mean '--eval_steps'?",
            "model_name_or_path: is required and not given",
            "dataset_path: is required and not given",
            "output_dir: is required and not given",
            file + " line 5: dtype: found 'fp16', allowed: auto, fp32, bf16",
            file + " line 2: seed: found 'many', allowed: a whole number >= 0",
            file + " line 7: adam_beta1: found 1, allowed: a number >= 0 and < 1",
            file + " line 8: stop: found a mapping, allowed: a list, each a text",
            "warmup_steps 3 and warmup_ratio 0.1 exclude each other",
            "max_steps: found 0, allowed: -1 (no limit) or at least 1"),
        lines);
  }

  @ParameterizedTest
  @CsvSource({
    "seed, -1, a whole number >= 0",
    "seed, 1.5, a whole number >= 0",
    "per_device_train_batch_size, 0, a whole number >= 1",
    "per_device_train_batch_size, 99999999999, a whole number >= 1",
    "learning_rate, NaN, a number >= 0",
    "learning_rate, Infinity, a number >= 0",
    "learning_rate, fast, a number >= 0",
    "adam_epsilon, 0, a number > 0",
    "append_eos, yes, 'true, false'",
    "overlong, cut, 'truncate, drop, error'",
    "template, vicunna, 'model, vicuna, alpaca, alpaca-fastchat, hh, hh-hash, zephyr, none'",
    "device, gpu, 'auto, cpu, cuda, cuda:N'",
    "device, cuda:x, 'auto, cpu, cuda, cuda:N'",
    "lr_scheduler_type, polynomial,"
        + " 'linear, cosine, cosine_with_min_lr, constant, constant_with_warmup, inverse_sqrt'",
  })
  void wrongValuesNameWhatWasFoundAndWhatIsAllowed(String key, String value, String allowed) {
    List<String> lines = problems(complete().option(key, value));
    assertEquals(1, lines.size(), lines.toString());
    assertTrue(lines.get(0).startsWith("--" + key + ": found "), lines.get(0));
    assertTrue(lines.get(0).contains(value), lines.get(0));
    assertTrue(lines.get(0).endsWith("allowed: " + allowed), lines.get(0));
  }

  @ParameterizedTest
  @ValueSource(strings = {"auto", "cpu", "cuda", "cuda:0", "cuda:12"})
  void devices(String device) {
    assertEquals(device, complete().option("device", device).build().training().device());
  }

  @Test
  void choicesTakeUpperCaseAndHyphens() {
    Method config = complete().option("lr_scheduler_type", "Constant-With-Warmup").build();
    assertEquals(LrSchedulerType.CONSTANT_WITH_WARMUP, config.training().lrSchedulerType());
  }

  @Test
  void templateNoneIsAChoiceAndHyphensAreWritten() {
    assertEquals(
        Template.NONE, complete().option("template", "none").build().training().template());
    Method config = complete().option("template", "hh-hash").build();
    assertEquals(Template.HH_HASH, config.training().template());
    assertEquals("hh-hash", Config.toMap(config).get("template"));
  }

  @Test
  void resumeIsNoneAutoOrAPath() {
    assertEquals(
        new ResumeFrom.Auto(),
        complete()
            .option("resume_from_checkpoint", "auto")
            .build()
            .training()
            .resumeFromCheckpoint());
    assertEquals(
        new ResumeFrom.Checkpoint(Path.of("out/checkpoint-5")),
        complete()
            .set("resume_from_checkpoint", Path.of("out/checkpoint-5"))
            .build()
            .training()
            .resumeFromCheckpoint());
  }

  @Test
  void namesOfOtherToolsAreTakenWithOneWarning() {
    List<String> warnings = new ArrayList<>();
    Method config =
        complete()
            .onWarning(warnings::add)
            .option("max_seq_length", "99")
            .option("num_train_epochs", "3")
            .build();
    assertEquals(99, config.training().maxLength());
    assertEquals(3, config.passes());
    assertEquals(1.0, config.training().numTrainEpochs());
    assertEquals(
        List.of(
            "--max_seq_length is called --max_length here; it was taken",
            "--num_train_epochs is called --passes here; it was taken"),
        warnings);
    List<String> lines =
        problems(complete().option("max_seq_length", "99").option("max_length", "98"));
    assertEquals(List.of("--max_length: set twice, first as --max_seq_length"), lines);
  }

  @Test
  void settingsWithoutEffectAreWarnedOf() {
    List<String> warnings = new ArrayList<>();
    complete()
        .onWarning(warnings::add)
        .set("min_lr_rate", 0.1)
        .set("lr_scheduler_type", LrSchedulerType.CONSTANT)
        .set("warmup_ratio", 0.03)
        .build();
    assertEquals(
        List.of(
            "min_lr_rate has no effect unless lr_scheduler_type is cosine_with_min_lr",
            "lr_scheduler_type constant has no warm-up; constant_with_warmup has"),
        warnings);
  }

  @Test
  void evaluationWithoutASetAndBestWithoutEvaluationAreErrors() {
    assertEquals(
        List.of("eval_strategy epoch needs eval_dataset_path"),
        problems(complete().option("eval_strategy", "epoch")));
    assertEquals(
        List.of("save_best true needs evaluations: eval_dataset_path"),
        problems(complete().option("save_best", "true")));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "'seed: [1'|line 1",
        "'seed: 1\n  model: x'|line 2",
        "'a: b: c'|line 1",
        "'\tseed: 1'|line 1",
        "'seed: \"x'|line 1",
      })
  void badYamlNamesTheLine(String text, String line) throws IOException {
    Path file = yaml(text);
    List<String> lines = problems(complete().file(file));
    assertEquals(1, lines.size(), lines.toString());
    assertTrue(lines.get(0).startsWith(file + " " + line + ", column "), lines.get(0));
    assertTrue(lines.get(0).contains("not valid YAML: "), lines.get(0));
  }

  @Test
  void yamlThatIsNoFlatMappingIsAnError() throws IOException {
    Path list = yaml("- seed\n");
    assertEquals(
        List.of(list + ": must be lines of 'key: value'"), problems(complete().file(list)));
    Path two = yaml("seed: 1\n---\nseed: 2\n");
    assertEquals(
        List.of(two + ": holds more than one YAML document"), problems(complete().file(two)));
    Path absent = folder.resolve("absent.yaml");
    assertEquals(List.of(absent + ": no such file"), problems(complete().file(absent)));
    Path noText = Files.write(folder.resolve("binary.yaml"), new byte[] {(byte) 0xff, 0x00});
    assertEquals(List.of(noText + ": is not UTF-8 text"), problems(complete().file(noText)));
    complete().file(yaml("# nothing but a comment\n")).build();
  }

  @Test
  void anchorsAliasesAndMergesAreErrors() throws IOException {
    Path file =
        yaml("seed: &s 1\nmax_length: *s\n<<: {seed: 2}\nstop: [&t a, *t]\nlearning_rate:\n");
    List<String> lines = problems(complete().file(file));
    assertEquals(4, lines.size(), lines.toString());
    assertTrue(lines.get(0).startsWith(file + " line 3: YAML anchors, aliases and merges"));
    for (int i = 1; i <= 3; i++) {
      boolean learningRate = lines.get(i).contains("learning_rate");
      assertTrue(
          lines.get(i).contains(learningRate ? "found no value" : "anchors, aliases"),
          lines.get(i));
    }
  }

  @Test
  void writtenConfigReadsBackEqual() throws IOException {
    Method config =
        complete()
            .set("learning_rate", 1.0 / 3e7)
            .set("stop", List.of("no", "1", "a, b", "\n\nHuman:", "# x", "none", "null", "é漢😀"))
            .set("pattern", "^\\s*\"'#{}[]: \\d+$")
            .set("resume_from_checkpoint", "auto")
            .set("eval_strategy", EvalStrategy.NO)
            .set("adam_epsilon", 1e-10)
            .build();
    Path file = yaml(Config.toYaml(config));
    assertEquals(config, Config.of(Method.class).file(file).build(), Files.readString(file));
    assertEquals(
        Config.keys(Method.class).stream().map(ConfigKey::name).toList(),
        new ArrayList<>(Config.toMap(config).keySet()));
  }

  @Test
  void onlyLoggingSavingEvaluationAndReportingMayChangeOnResume() {
    Method started = complete().set("learning_rate", 1e-4).build();
    Method harmless =
        complete()
            .set("learning_rate", 1e-4)
            .set("logging_steps", 1)
            .set("save_strategy", "epoch")
            .set("save_steps", 3)
            .set("save_total_limit", 0)
            .set("eval_dataset_path", "e.jsonl")
            .set("eval_strategy", "epoch")
            .set("eval_steps", 2)
            .set("save_best", true)
            .set("report_to", "tensorboard")
            .set("resume_from_checkpoint", "auto")
            .build();
    assertEquals(List.of(), Config.differencesThatForbidResume(started, harmless));
    Method changed =
        complete().set("learning_rate", 2e-4).set("seed", 1).set("stop", List.of("x")).build();
    assertEquals(
        List.of(
            "seed: the run was started with 42, it cannot go on with 1",
            "learning_rate: the run was started with 1.0E-4, it cannot go on with 2.0E-4",
            "stop: the run was started with none, it cannot go on with [x]"),
        Config.differencesThatForbidResume(started, changed));
  }

  @Test
  void recordsBuiltByHandCanBeChecked() {
    record Small(@Key(doc = "A share.", defaultValue = "0.5", atLeast = 0, atMost = 1) double share)
        implements Checked {
      @Override
      public void check(Problems problems) {
        problems.require(share != 0.25, "share 0.25 is taken");
      }
    }
    Config.check(new Small(0.5));
    assertEquals(
        "share: found 1.5, allowed: a number >= 0 and <= 1",
        assertThrows(RlhfException.class, () -> Config.check(new Small(1.5))).getMessage());
    assertEquals(
        "share 0.25 is taken",
        assertThrows(RlhfException.class, () -> Config.check(new Small(0.25))).getMessage());
  }

  @Test
  void anUnreadableFileDoesNotHideOtherProblemsOrInventNew() throws IOException {
    Path file = yaml("seed: [1");
    List<String> lines = problems(Config.of(Method.class).file(file).option("sed", "1"));
    assertEquals(2, lines.size(), lines.toString());
    assertTrue(lines.get(0).startsWith(file.toString()));
    assertEquals("unknown option '--sed', did you mean '--seed'?", lines.get(1));
  }

  @Test
  void missingFilesAreInputErrorsUnlessMoreIsWrong() {
    ConfigBuilder<Method> builder = complete().requirePaths();
    RlhfException missing = assertThrows(RlhfException.class, builder::build);
    assertEquals(ExitCode.INPUT, missing.exitCode());
    assertEquals(
        List.of(
            "model_name_or_path: no such folder: model",
            "dataset_path: no such file: a.jsonl",
            "dataset_path: no such file: b.jsonl"),
        missing.getMessage().lines().toList());
    assertEquals(4, problems(complete().requirePaths().set("sed", 1)).size());
  }

  record Source(
      @Key(
              doc = "Folder or URL.",
              defaultValue = Key.NONE,
              existing = Key.Existing.MODEL_FOLDER_OR_URL)
          String from) {}

  @Test
  void aServerMayStandForAFolder() {
    for (String url :
        List.of(
            "http://localhost:5000",
            "https://rm.example.org/get_reward?model=a",
            "HTTP://[::1]:80/x")) {
      Source source = Config.of(Source.class).requirePaths().set("from", url).build();
      assertEquals(url, source.from());
    }
    Source none = Config.of(Source.class).requirePaths().build();
    assertNull(none.from());
    ConfigBuilder<Source> absent = Config.of(Source.class).requirePaths().set("from", "rm");
    RlhfException missing = assertThrows(RlhfException.class, absent::build);
    assertEquals(ExitCode.INPUT, missing.exitCode());
    assertEquals(
        "from: no such folder: rm; a server's URL begins with http:// or https://",
        missing.getMessage());
  }

  @ParameterizedTest
  @CsvSource({
    "ftp://host/x,is no URL of an HTTP server: ftp://host/x",
    "http:///x,is no URL of an HTTP server: http:///x",
    "http://under_score:5000,is no URL of an HTTP server",
    "http://host/#part,is no URL of an HTTP server",
    "http://ho st:5000,is no URL: Illegal character",
    "http://me:s3cret@host/,holds a user or a password",
    "http://me:s3c ret@host/,is no URL: ",
    "http://,is no URL: ",
  })
  void otherUrlsAreNamed(String url, String message) {
    List<String> found = problems(Config.of(Source.class).set("from", url));
    assertEquals(1, found.size());
    assertTrue(found.get(0).startsWith("from: " + message), found.get(0));
    assertFalse(found.get(0).contains("s3c"), found.get(0));
  }

  @Test
  void everyKeyHasADocumentationLineAndAReadableDefault() {
    for (ConfigKey key : Config.keys(Method.class)) {
      assertTrue(key.declaration().doc().endsWith("."), key.name());
      assertTrue(key.help().contains(key.declaration().doc()), key.name());
    }
  }

  record FromElsewhere(
      @Key(doc = "One.", defaultValue = "1", atLeast = 0) int one,
      @Key(doc = "Two.", defaultValue = "2") int two,
      @Key(doc = "Three.", defaultValue = "3") int three,
      @Key(doc = "Stop.", defaultValue = Key.NONE) List<String> stop)
      implements Completing {
    @Override
    public void complete(Defaults defaults) {
      defaults.put("one", two, "elsewhere: one");
      defaults.put("two", 8, "elsewhere: two");
      defaults.put("three", "4", "elsewhere: three");
      defaults.put("stop", List.of("a", "b"), "elsewhere: stop");
      defaults.warn("elsewhere: a warning");
    }
  }

  @Test
  void defaultsFromElsewhereCountWhereAKeyIsGivenNowhere() throws IOException {
    List<String> warnings = new ArrayList<>();
    // A value that equals the key's own default is given all the same.
    FromElsewhere config =
        Config.of(FromElsewhere.class)
            .onWarning(warnings::add)
            .file(yaml("one: 1\n"))
            .set("two", 9)
            .build();
    assertEquals(new FromElsewhere(1, 9, 4, List.of("a", "b")), config);
    assertEquals(List.of("elsewhere: a warning"), warnings);
    RlhfException refused =
        assertThrows(
            RlhfException.class, () -> Config.of(FromElsewhere.class).set("two", -1).build());
    assertEquals("elsewhere: one: found -1, allowed: a whole number >= 0", refused.getMessage());
  }
}
