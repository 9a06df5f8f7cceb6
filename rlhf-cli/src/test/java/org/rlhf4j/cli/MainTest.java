package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigKey;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.StopSignal;

class MainTest {
  /** That nothing listens at does not matter: a server is not asked by a look. */
  private static final String SERVER = "http://127.0.0.1:1";

  @TempDir Path folder;
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();
  private Path model;
  private Path data;

  record WorkConfig(
      @Key(doc = "Model.", existing = Key.Existing.MODEL_FOLDER, aliases = "dir") String model,
      @Key(doc = "Steps.", defaultValue = "1", atLeast = -1) int steps,
      @Key(doc = "Output.", defaultValue = Key.NONE) Path outputDir) {}

  /** A verb that does what the test says. */
  private record Work(Supplier<ExitCode> action, List<WorkConfig> seen)
      implements Verb<WorkConfig> {
    @Override
    public String name() {
      return "work";
    }

    @Override
    public String summary() {
      return "Works 100 % of the time.";
    }

    @Override
    public String example() {
      return "work model --steps 100";
    }

    @Override
    public Class<WorkConfig> config() {
      return WorkConfig.class;
    }

    @Override
    public String bareKey() {
      return "model";
    }

    @Override
    public ExitCode run(WorkConfig config, Session session) {
      seen.add(config);
      return action.get();
    }
  }

  @BeforeEach
  void files() throws IOException {
    model = TinyModel.causalLm(folder.resolve("a model"), 1);
    Path config = model.resolve("config.json");
    // The longest max_length of the defaults.
    Files.writeString(
        config,
        Files.readString(config)
            .replaceFirst("(\"max_position_embeddings\": )" + TinyModel.POSITIONS, "$11024"));
    data =
        Files.writeString(
            folder.resolve("rows.jsonl"),
            "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n");
  }

  private ExitCode run(List<Verb<?>> verbs, String... args) {
    out.reset();
    err.reset();
    Session session =
        new Session(
            new PrintStream(out, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8),
            new StopSignal(),
            List.of(args));
    return Main.run(verbs, session);
  }

  private ExitCode validate(String... args) {
    List<String> words = new ArrayList<>(List.of("validate", "sft"));
    words.addAll(Arrays.asList(args));
    return run(Verbs.ALL, words.toArray(String[]::new));
  }

  private ExitCode work(Supplier<ExitCode> action, String... args) {
    List<String> words = new ArrayList<>(List.of("work", model.toString()));
    words.addAll(Arrays.asList(args));
    return run(List.of(new Work(action, new ArrayList<>())), words.toArray(String[]::new));
  }

  private String out() {
    return out.toString(StandardCharsets.UTF_8);
  }

  private List<String> errors() {
    return err.toString(StandardCharsets.UTF_8).lines().toList();
  }

  @Test
  void validPrintsTheMergedConfiguration() throws IOException {
    Path yaml =
        Files.writeString(
            folder.resolve("c.yaml"),
            "model_name_or_path: '" + model + "'\ndataset_path: ['" + data + "']\nseed: 1\n");
    ExitCode code =
        validate(
            "--output_dir=" + folder.resolve("out"),
            "--config",
            yaml.toString(),
            "--seed",
            "5",
            "--max_steps",
            "-1");
    assertEquals(List.of(), errors());
    assertEquals(ExitCode.DONE, code);
    assertTrue(out().contains("\nseed: 5\n"), out());
    assertTrue(out().contains("\nlearning_rate: 2.0E-5\n"), out());
  }

  @Test
  void allErrorsComeAtOnceOnALineEach() {
    ExitCode code =
        validate(
            "--learning_rte=1",
            "--sede",
            "1",
            "stray",
            "--seed",
            "x",
            "--packing",
            "maybe",
            "--threads",
            "0",
            "--model_name_or_path",
            "absent",
            "--warmup_steps=1",
            "--warmup_ratio=0.5",
            "--dtype");
    assertEquals(ExitCode.CONFIG, code);
    assertEquals(
        List.of(
            "error: --dtype: has no value",
            "error: --threads: found '0', allowed: a whole number >= 1",
            "error: unknown option '--learning_rte', did you mean '--learning_rate'?",
            "error: unknown option '--sede', did you mean '--seed'?",
            "error: unexpected argument 'stray'; options are written --key value",
            "error: dataset_path: is required and not given",
            "error: output_dir: is required and not given",
            "error: --seed: found 'x', allowed: a whole number >= 0",
            "error: --packing: found 'maybe', allowed: true, false",
            "error: warmup_steps 1 and warmup_ratio 0.5 exclude each other",
            "error: --model_name_or_path: no such folder: absent"),
        errors());
    assertEquals("", out());
  }

  @Test
  void anOptionGivenTwiceIsAnError() {
    assertEquals(ExitCode.CONFIG, validate("--seed", "1", "--seed=2"));
    assertTrue(errors().contains("error: --seed: given twice"), errors().toString());
  }

  @Test
  void badYamlNamesFileAndLine() throws IOException {
    Path yaml = Files.writeString(folder.resolve("bad.yaml"), "seed: 1\n  x: [\n");
    assertEquals(ExitCode.CONFIG, validate("--config", yaml.toString()));
    assertEquals(1, errors().size());
    assertTrue(errors().get(0).startsWith("error: " + yaml + " line 2, column "), errors().get(0));
    assertEquals(ExitCode.CONFIG, validate("--config", folder.resolve("no.yaml").toString()));
    assertEquals(List.of("error: " + folder.resolve("no.yaml") + ": no such file"), errors());
  }

  @Test
  void missingFilesAreInputErrors() {
    ExitCode code =
        validate("--model_name_or_path", "m", "--dataset_path", "d,e", "--output_dir", "o");
    assertEquals(ExitCode.INPUT, code);
    assertEquals(
        List.of(
            "error: --model_name_or_path: no such folder: m",
            "error: --dataset_path: no such file: d",
            "error: --dataset_path: no such file: e"),
        errors());
  }

  @Test
  void namesOfOtherToolsGiveOneWarning() {
    ExitCode code =
        validate(
            "--model_name_or_path",
            model.toString(),
            "--dataset_name",
            data.toString(),
            "--output_dir",
            "o");
    assertEquals(ExitCode.DONE, code);
    assertEquals(
        List.of("warning: --dataset_name is called --dataset_path here; it was taken"), errors());
  }

  static List<Verb<?>> verbs() {
    return Verbs.ALL;
  }

  @ParameterizedTest
  @MethodSource("verbs")
  void helpListsEveryKeyWithItsDefault(Verb<?> verb) {
    for (List<String> words :
        List.of(List.of(verb.name(), "--help"), List.of("validate", verb.name(), "--help"))) {
      assertEquals(ExitCode.DONE, run(Verbs.ALL, words.toArray(String[]::new)));
      String oneLine = out().replaceAll("\\s+", " ");
      for (ConfigKey key : Config.keys(verb.config())) {
        String entry = "--" + key.name() + "=" + key.placeholder() + " " + key.help();
        // The help may break a line behind a colon or a full stop inside a word.
        assertTrue(oneLine.replace(" ", "").contains(entry.replace(" ", "")), entry);
      }
      assertTrue(oneLine.contains("--config=FILE"));
      assertTrue(oneLine.contains("--threads=N CPU threads to compute with"));
      assertEquals(List.of(), errors());
    }
  }

  @Test
  void helpHasItsKeysUnderHeadings() {
    assertEquals(ExitCode.DONE, run(Verbs.ALL, "sft", "--help"));
    String heading = "";
    Map<String, String> headings = new LinkedHashMap<>();
    for (String line : out().lines().toList()) {
      if (line.matches("\\S.*:|")) {
        heading = line;
      } else if (line.startsWith("      --")) {
        headings.put(line.strip().split("=")[0], heading);
      }
    }
    assertEquals(
        List.of(
            "",
            "Model, rows and output:",
            "Numbers, device and seed:",
            "Batches and the length of the run:",
            "Learning rate and optimizer:",
            "How rows are read:",
            "Memory and adapters:",
            "Metrics, evaluation and checkpoints:",
            "Packing:"),
        headings.values().stream().distinct().toList());
    assertEquals("", headings.get("--config"));
    assertEquals("Model, rows and output:", headings.get("--model_name_or_path"));
    assertEquals("Model, rows and output:", headings.get("--eval_dataset_path"));
    assertEquals("Learning rate and optimizer:", headings.get("--max_grad_norm"));
    assertEquals("Memory and adapters:", headings.get("--lora_r"));
    assertEquals("Packing:", headings.get("--packing_strategy"));
    assertEquals("", headings.get("--threads"));
  }

  @Test
  void defaultsThatDifferByVerb() {
    // The row learning_rate, lr_scheduler_type, max_length, overlong, append_eos of the contract.
    record Row(String verb, double rate, String schedule, int length, String over, boolean eos) {}
    List<Row> rows =
        List.of(
            new Row("sft", 2e-5, "cosine", 1024, "truncate", true),
            new Row("reward", 5e-6, "linear", 512, "drop", false),
            new Row("ppo", 3e-6, "constant", 512, "drop", false),
            new Row("rloo", 3e-6, "constant", 512, "drop", false),
            new Row("grpo", 3e-6, "constant", 512, "drop", false),
            new Row("reinforce-pp", 3e-6, "constant", 512, "drop", false),
            new Row("raft", 2e-5, "constant", 512, "drop", false));
    for (Row row : rows) {
      boolean takesReward = !row.verb().equals("sft") && !row.verb().equals("reward");
      String extra = takesReward ? "--reward_model_name_or_path" : "--seed";
      String value = takesReward ? SERVER : "42";
      ExitCode code =
          run(
              Verbs.ALL,
              "validate",
              row.verb(),
              "--model_name_or_path",
              model.toString(),
              "--dataset_path",
              data.toString(),
              "--output_dir",
              "o",
              extra,
              value);
      assertEquals(ExitCode.DONE, code, errors().toString());
      assertTrue(out().contains("\nlearning_rate: " + row.rate() + "\n"), out());
      assertTrue(out().contains("\nlr_scheduler_type: " + row.schedule() + "\n"), out());
      assertTrue(out().contains("\nmax_length: " + row.length() + "\n"), out());
      assertTrue(out().contains("\noverlong: " + row.over() + "\n"), out());
      assertTrue(out().contains("\nappend_eos: " + row.eos() + "\n"), out());
    }
    for (String line :
        List.of(
            "num_raft_iterations: 20",
            "prompts_per_iteration: 2048",
            "samples_per_prompt: 8",
            "selection: per_prompt",
            "keep_fraction: 0.125",
            "epochs_per_iteration: 2",
            "discard_pattern: none",
            "temperature: 0.85",
            "max_new_tokens: 128")) {
      assertTrue(out().contains("\n" + line + "\n"), line);
    }
  }

  @Test
  void defaultsOfPpo() {
    // The row of ppo in the contract.
    ExitCode code =
        run(
            Verbs.ALL,
            "validate",
            "ppo",
            "--model_name_or_path",
            model.toString(),
            "--dataset_path",
            data.toString(),
            "--output_dir",
            "o",
            "--reward_model_name_or_path",
            SERVER);
    assertEquals(ExitCode.DONE, code, errors().toString());
    for (String line :
        List.of(
            "total_episodes: none",
            "rollout_batch_size: 64",
            "num_ppo_epochs: 4",
            "mini_batch_size: 32",
            "kl_coef: 0.05",
            "kl_estimator: k1",
            "adaptive_kl_target: none",
            "adaptive_kl_horizon: 10000.0",
            "gamma: 1.0",
            "lam: 0.95",
            "cliprange: 0.2",
            "cliprange_value: 0.2",
            "dual_clip: none",
            "vf_coef: 0.1",
            "entropy_coef: 0.0",
            "whiten_advantages: true",
            "whiten_rewards: false",
            "scale_reward: none",
            "cliprange_reward: none",
            "missing_eos_penalty: none",
            "length_penalty: 0.0",
            "num_layers_unfrozen: -1",
            "share_trunk: true",
            "num_value_layers_unfrozen: 0",
            "value_model_name_or_path: none",
            "value_learning_rate: none",
            "target_kl: none",
            "temperature: 1.0",
            "top_k: 0",
            "top_p: 1.0")) {
      assertTrue(out().contains("\n" + line + "\n"), line);
    }
  }

  @Test
  void defaultsOfTheGroupMethods() {
    List<String> common =
        List.of(
            "num_generations: 8",
            "epsilon: 0.2",
            "epsilon_high: none",
            "num_iterations: 1",
            "mini_batch_size: none",
            "rollout_batch_size: 64",
            "num_layers_unfrozen: -1",
            "temperature: 1.0");
    // TRL's and OpenRLHF's values.
    Map<String, List<String>> own =
        Map.of(
            "grpo", List.of("beta: 0.0", "loss_type: dapo", "scale_rewards: group"),
            "rloo", List.of("beta: 0.05", "normalize_advantages: false"),
            "reinforce-pp",
                List.of("beta: 0.01", "group_baseline: false", "kl_estimator: k1", "gamma: 1.0"));
    own.forEach(
        (verb, lines) -> {
          ExitCode code =
              run(
                  Verbs.ALL,
                  "validate",
                  verb,
                  "--model_name_or_path",
                  model.toString(),
                  "--dataset_path",
                  data.toString(),
                  "--output_dir",
                  "o",
                  "--reward_model_name_or_path",
                  SERVER);
          assertEquals(ExitCode.DONE, code, errors().toString());
          for (String line : Stream.concat(common.stream(), lines.stream()).toList()) {
            assertTrue(out().contains("\n" + line + "\n"), verb + " " + line);
          }
        });
  }

  @Test
  void raftRules() {
    ExitCode code =
        run(
            Verbs.ALL,
            "validate",
            "raft",
            "--do_sample",
            "false",
            "--max_length",
            "128",
            "--discard_pattern",
            "[");
    assertEquals(ExitCode.CONFIG, code);
    String all = String.join("\n", errors());
    assertTrue(all.contains("samples_per_prompt 8 needs do_sample true"), all);
    assertTrue(all.contains("max_new_tokens 128 leaves no room for a prompt in max_length 128"));
    assertTrue(all.contains("discard_pattern: [ is no pattern"), all);
  }

  @Test
  void unknownVerbNamesTheNearest() {
    assertEquals(ExitCode.CONFIG, run(List.of(), "validat"));
    assertEquals(List.of("error: unknown verb 'validat', did you mean 'validate'?"), errors());
    assertEquals(ExitCode.CONFIG, run(Verbs.ALL, "validate", "stf"));
    assertEquals(
        List.of(
            "error: validate: unknown kind 'stf', allowed: sft, reward, raft, ppo, rloo, grpo,"
                + " reinforce-pp, generate, score, serve-reward, select, inspect, delta, merge-lora,"
                + " bench, quickstart, demo"),
        errors());
    assertEquals(ExitCode.CONFIG, run(List.of()));
    assertTrue(errors().get(0).startsWith("Usage: "));
  }

  @Test
  void overviewAndVersion() {
    Work work = new Work(() -> ExitCode.DONE, new ArrayList<>());
    assertEquals(ExitCode.DONE, run(List.of(work), "--help"));
    assertTrue(out().contains("  work         Works 100 % of the time."), out());
    assertTrue(out().contains("  validate     "), out());
    assertEquals(ExitCode.DONE, run(List.of(work), "work", "--help"));
    assertTrue(out().contains("Usage: rlhf work [MODEL] [--config FILE]"), out());
    assertTrue(out().contains("  ./rlhf work model --steps 100\n"), out());
    assertTrue(out().contains("Steps. (default: 1, >= -1)"), out());
    assertTrue(out().contains("Works 100 % of the time."), out());
    assertEquals(ExitCode.DONE, run(List.of(), "--version"));
  }

  @Test
  void aVerbGetsItsConfigurationAndDecidesOnTheExitStatus() {
    Work work = new Work(() -> ExitCode.TERMINATED, new ArrayList<>());
    assertEquals(
        ExitCode.TERMINATED, run(List.of(work), "work", model.toString(), "--steps", "-1"));
    assertEquals(List.of(new WorkConfig(model.toString(), -1, null)), work.seen());
  }

  @Test
  void threadsReachTheEngine() {
    String key = "ai.djl.pytorch.num_threads";
    String before = System.getProperty(key);
    try {
      assertEquals(ExitCode.DONE, work(() -> ExitCode.DONE, "--threads", "3"));
      assertEquals("3", System.getProperty(key));
    } finally {
      if (before == null) {
        System.clearProperty(key);
      } else {
        System.setProperty(key, before);
      }
    }
  }

  @Test
  void aKeyCalledThreadsTakesThePlaceOfTheOption() {
    record Threads(@Key(doc = "Threads.", defaultValue = "2") int threads) {}
    CommandReader<Threads> reader = new CommandReader<>("rlhf x", "X.", Threads.class, "");
    CommandReader.Request<Threads> request = reader.read(List.of("--threads", "4"));
    assertEquals(4, request.builder().build().threads());
    assertEquals(0, request.threads());
  }

  private static Supplier<ExitCode> failing(RuntimeException failure) {
    return () -> {
      throw failure;
    };
  }

  @Test
  void knownFailuresAreOneLineAndTheirOwnStatus() {
    assertEquals(ExitCode.INPUT, work(failing(RlhfException.input("rows.jsonl line 3: no JSON"))));
    assertEquals(List.of("error: rows.jsonl line 3: no JSON"), errors());
    assertEquals(ExitCode.NON_FINITE, work(failing(RlhfException.nonFinite("loss is NaN"))));
    assertEquals(ExitCode.CONFIG, work(failing(RlhfException.config("a\nb"))));
    assertEquals(List.of("error: a", "error: b"), errors());
  }

  @Test
  void fullDiskAndDeniedAccessAreTheSurroundings() {
    assertEquals(
        ExitCode.ENVIRONMENT,
        work(failing(new UncheckedIOException(new IOException("No space left on device")))));
    assertEquals(List.of("error: No space left on device"), errors());
    assertEquals(
        ExitCode.ENVIRONMENT,
        work(failing(new UncheckedIOException(new AccessDeniedException("/root/x")))));
    assertEquals(List.of("error: /root/x: permission denied"), errors());
  }

  @Test
  void runningOutOfMemoryComesWithAdvice() {
    Supplier<ExitCode> javaHeap =
        () -> {
          throw new OutOfMemoryError("Java heap space");
        };
    assertEquals(ExitCode.ENVIRONMENT, work(javaHeap));
    assertEquals(1, errors().size());
    assertTrue(errors().get(0).contains("per_device_train_batch_size"), errors().get(0));
    RuntimeException torch =
        new IllegalStateException("DefaultCPUAllocator: not enough memory: you tried to allocate");
    assertEquals(ExitCode.ENVIRONMENT, work(failing(torch)));
  }

  @Test
  void aDefectIsOneLineAndAStackTraceInTheOutputFolder() throws IOException {
    Path output = Files.createDirectory(folder.resolve("out"));
    RuntimeException defect = new IllegalStateException("shape [1, 2]\nsecond line");
    assertEquals(ExitCode.DEFECT, work(failing(defect), "--output_dir", output.toString()));
    Path log = output.resolve("error.log");
    assertEquals(
        List.of(
            "error: this is a defect of RLHF4J: java.lang.IllegalStateException: shape [1, 2];"
                + " the stack trace is in "
                + log),
        errors());
    assertTrue(Files.readString(log).contains("at org.rlhf4j.cli.MainTest"));
  }

  @Test
  void withoutAnOutputFolderTheStackTraceGoesToATemporaryFile() throws IOException {
    Path absent = folder.resolve("absent");
    assertEquals(
        ExitCode.DEFECT,
        work(failing(new ArithmeticException("/ by zero")), "--output_dir", absent.toString()));
    assertEquals(1, errors().size());
    String line = errors().get(0);
    Path log = Path.of(line.substring(line.indexOf("is in ") + 6));
    assertTrue(Files.readString(log).contains("ArithmeticException"));
    Files.delete(log);
    assertFalse(Files.exists(absent));
  }
}
