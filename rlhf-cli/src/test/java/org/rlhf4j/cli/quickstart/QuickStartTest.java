package org.rlhf4j.cli.quickstart;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rlhf4j.cli.CommandLines;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;

/** One quick start with little of everything, looked at from all sides. */
class QuickStartTest {
  private static final JsonMapper JSON = new JsonMapper();
  private static final Recipe LITTLE =
      new Recipe(
          32,
          24,
          2,
          new Recipe.Raft(1, 6),
          new Recipe.Ppo(2, 6, 0.02),
          8,
          2,
          new Recipe.Rates(1e-3, 1e-3, 3e-4, 1e-3, 1, 1));
  private static final int WIDTH = 80;
  private static final Pattern PROMPT =
      Pattern.compile("Tell me a story about (\\w+) and an? (\\w+) (\\w+)\\.\n");

  @TempDir private static Path folder;

  private static final ByteArrayOutputStream SCREEN = new ByteArrayOutputStream();

  private static Set<String> before;

  @BeforeAll
  static void run() throws IOException {
    before = entries(Path.of(""));
    PrintStream out = new PrintStream(SCREEN, true, StandardCharsets.UTF_8);
    RunContext context =
        new RunContext(Console.plain(out, WIDTH), new StopSignal(), row -> {}, List.of());
    new QuickStart(new QuickStartConfig(folder, 11), LITTLE, context).run();
  }

  private static List<JsonNode> rows(String file) {
    try {
      List<JsonNode> rows = new ArrayList<>();
      for (String line : Files.readAllLines(folder.resolve(file))) {
        rows.add(JSON.readTree(line));
      }
      return rows;
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  private static Set<String> prompts(String file) {
    Set<String> prompts = new HashSet<>();
    rows(file).forEach(row -> prompts.add(row.get("prompt").asText()));
    return prompts;
  }

  @Test
  void resultsHoldExactlyTheFieldsOfTheContract() throws IOException {
    JsonNode results = JSON.readTree(folder.resolve("results.json").toFile());
    assertEquals(List.of("seed", "reward_model_accuracy", "stages"), names(results));
    assertEquals(11, results.get("seed").asLong());
    double accuracy = results.get("reward_model_accuracy").asDouble();
    assertTrue(accuracy >= 0 && accuracy <= 1);
    List<String> stages = new ArrayList<>();
    for (JsonNode stage : results.get("stages")) {
      stages.add(stage.get("stage").asText());
      assertEquals(
          List.of(
              "stage",
              "gold_reward",
              "proxy_reward",
              "win_rate_vs_sft",
              "kl",
              "distinct_2",
              "mean_length",
              "seconds"),
          names(stage));
      for (String name : names(stage)) {
        boolean meaningless =
            stages.size() == 1 && name.equals("kl")
                || stages.size() == 2 && name.equals("win_rate_vs_sft");
        assertEquals(meaningless, stage.get(name).isNull(), name);
        if (!meaningless && !name.equals("stage")) {
          assertTrue(stage.get(name).isNumber(), name);
          assertTrue(Double.isFinite(stage.get(name).asDouble()), name);
        }
      }
    }
    assertEquals(List.of("base", "sft", "raft", "ppo"), stages);
    JsonNode sft = results.get("stages").get(1);
    assertEquals(0, sft.get("kl").asDouble(), 1e-9);
    for (int other : new int[] {0, 2, 3}) {
      double rate = results.get("stages").get(other).get("win_rate_vs_sft").asDouble();
      assertTrue(rate >= 0 && rate <= 1);
    }
  }

  private static List<String> names(JsonNode node) {
    List<String> names = new ArrayList<>();
    node.fieldNames().forEachRemaining(names::add);
    return names;
  }

  /** Nothing lies outside of the output folder, and in it what the screen and the README name. */
  @Test
  void everythingIsInTheOutputFolder() throws IOException {
    assertEquals(before, entries(Path.of("")));
    Set<String> expected = new HashSet<>();
    Collections.addAll(expected, "base", "sft", "reward", "raft", "ppo");
    Collections.addAll(expected, "results.json", "commands.sh");
    Collections.addAll(expected, "sft.jsonl", "pairs.jsonl", "prompts.jsonl");
    Collections.addAll(expected, "sft-eval.jsonl", "pairs-eval.jsonl", "prompts-eval.jsonl");
    Set<String> found = entries(folder);
    // Made by another test.
    Collections.addAll(expected, "launcher", "commands.txt", "commands.log", "repeat");
    Collections.addAll(found, "launcher", "commands.txt", "commands.log", "repeat");
    assertEquals(expected, found);
  }

  private static Set<String> entries(Path folder) throws IOException {
    Set<String> names = new HashSet<>();
    try (Stream<Path> entries = Files.list(folder.toAbsolutePath())) {
      entries.forEach(entry -> names.add(entry.getFileName().toString()));
    }
    return names;
  }

  @Test
  void heldOutRequestsAreNotTrainedOn() {
    Set<String> trained = new HashSet<>(prompts("sft.jsonl"));
    trained.addAll(prompts("pairs.jsonl"));
    trained.addAll(prompts("prompts.jsonl"));
    for (String file : List.of("sft-eval.jsonl", "pairs-eval.jsonl", "prompts-eval.jsonl")) {
      assertTrue(prompts(file).stream().noneMatch(trained::contains), file);
    }
    assertTrue(
        prompts("prompts-eval.jsonl").stream().noneMatch(prompts("sft-eval.jsonl")::contains));
    assertEquals(32, rows("sft.jsonl").size());
    assertEquals(8, rows("sft-eval.jsonl").size());
    assertEquals(6, rows("prompts.jsonl").size());
    assertEquals(8, rows("prompts-eval.jsonl").size());
  }

  /** Pairs hold texts and nothing else, and in the held-out ones the better story is chosen. */
  @Test
  void pairsAreLabelledByTheJudge() {
    for (JsonNode pair : rows("pairs.jsonl")) {
      assertEquals(List.of("prompt", "chosen", "rejected"), names(pair));
    }
    for (JsonNode pair : rows("pairs-eval.jsonl")) {
      Request request = request(pair.get("prompt").asText());
      assertTrue(
          GoldJudge.gold(request, pair.get("chosen").asText())
              > GoldJudge.gold(request, pair.get("rejected").asText()));
    }
  }

  private static Request request(String prompt) {
    Matcher matcher = PROMPT.matcher(prompt);
    assertTrue(matcher.matches(), prompt);
    Request.Hero hero = new Request.Hero(matcher.group(1), true);
    return new Request(hero, matcher.group(2), matcher.group(3));
  }

  @Test
  void theScreenShowsStagesStoriesAndWhatComesNext() {
    String screen = SCREEN.toString(StandardCharsets.UTF_8);
    for (String expected :
        List.of(
            "win rate",
            "distinct-2",
            "before (SFT)",
            "after RAFT",
            "after PPO",
            "curves.png",
            "try next")) {
      assertTrue(screen.contains(expected), expected + " in\n" + screen);
    }
    // Lines that name files are as long as their folder wants, and those of progress, which a slow
    // machine shows, as long as their numbers want.
    assertTrue(
        screen
            .lines()
            .filter(line -> !line.contains(folder.toString()) && !line.contains("/s"))
            .allMatch(line -> line.length() <= WIDTH),
        screen);
    // Every line of the table of stages is as wide as its heading.
    List<String> lines = screen.lines().toList();
    int heading = 0;
    while (!lines.get(heading).contains("win rate")) {
      heading++;
    }
    int width = lines.get(heading).length();
    for (String stage : List.of("base", "sft", "reward", "raft", "ppo")) {
      assertTrue(
          lines.stream().anyMatch(l -> l.startsWith("  " + stage + " ") && l.length() == width),
          screen);
    }
    String base = lines.get(heading + 2);
    String sft = lines.get(heading + 3);
    int kl = lines.get(heading).indexOf("KL") + 1;
    int winRate = lines.get(heading).indexOf("win rate") + "win rate".length() - 1;
    assertEquals('–', base.charAt(kl), screen);
    assertEquals('–', sft.charAt(winRate), screen);
    assertFalse(screen.contains("\u001b"), "no control characters in plain output");
  }

  /** The commands that commands.sh calls, all in one fresh process. */
  @Test
  @DisabledOnOs(OS.WINDOWS)
  void theCommandsRepeatEachStageToTheSameBits() throws Exception {
    Path rlhf = folder.resolve("launcher");
    Path lines = folder.resolve("commands.txt");
    Files.writeString(
        rlhf,
        """
        #!/bin/sh
        printf '%%s\\t' "$@" >> '%s'
        echo >> '%1$s'
        echo "$RLHF_JAVA_OPTS"
        """
            .formatted(lines));
    assertTrue(rlhf.toFile().setExecutable(true));
    execute(rlhf, List.of(folder.resolve("commands.sh").toString()));
    assertEquals(4, Files.readAllLines(lines).size());
    // Told, since another process might measure that another way of products is faster.
    List<String> options =
        Files.readAllLines(folder.resolve("commands.log")).stream().distinct().toList();
    assertEquals(1, options.size(), options.toString());
    assertTrue(options.get(0).matches(" -Dorg\\.rlhf4j\\.products=(plain|onednn)"), options.get(0));
    execute(
        rlhf,
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-XX:+UseSerialGC",
            "-Dai.djl.offline=true",
            options.get(0).strip(),
            "-cp",
            System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
            CommandLines.class.getName(),
            lines.toString()));
    for (String stage : List.of("sft", "reward", "raft", "ppo")) {
      Path first = folder.resolve(stage);
      Path second = folder.resolve("repeat").resolve(stage);
      assertArrayEquals(
          Files.readAllBytes(first.resolve("model.safetensors")),
          Files.readAllBytes(second.resolve("model.safetensors")),
          stage);
      assertEquals(metrics(first), metrics(second), stage);
    }
  }

  private static void execute(Path rlhf, List<String> command)
      throws IOException, InterruptedException {
    Path log = folder.resolve("commands.log");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
    builder.environment().put("RLHF", rlhf.toString());
    builder.environment().remove("RLHF_JAVA_OPTS");
    Process process = builder.start();
    assertTrue(process.waitFor(10, TimeUnit.MINUTES));
    assertEquals(0, process.exitValue(), Files.readString(log));
  }

  private static List<JsonNode> metrics(Path run) throws IOException {
    List<JsonNode> rows = new ArrayList<>();
    for (String line : Files.readAllLines(run.resolve("metrics.jsonl"))) {
      ObjectNode row = (ObjectNode) JSON.readTree(line);
      names(row).stream().filter(MetricNames::isWallClock).forEach(row::remove);
      rows.add(row);
    }
    assertFalse(rows.isEmpty());
    return rows;
  }

  @ParameterizedTest
  @ValueSource(strings = {"base", "sft", "reward", "raft", "ppo"})
  void everyModelIsLeftAsAFolder(String stage) {
    assertTrue(Files.exists(folder.resolve(stage).resolve("model.safetensors")));
    assertTrue(Files.exists(folder.resolve(stage).resolve("tokenizer.json")));
  }

  @Test
  void aFolderThatHoldsSomethingIsRefused() {
    RlhfException e =
        assertThrows(
            RlhfException.class,
            () ->
                new QuickStart(new QuickStartConfig(folder, 1), LITTLE, RunContext.silent()).run());
    assertTrue(e.getMessage().startsWith("output_dir: "), e.getMessage());
  }
}
