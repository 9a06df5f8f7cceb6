package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;

/**
 * The commands of the README and of the help run as they stand there, in their order and in a
 * folder that holds what a checkout holds; trainings are cut short.
 */
@DisabledOnOs(OS.WINDOWS)
class ReadmeTest {
  static final Path ROOT = root();

  private static final List<String> SHORT_GROUPS =
      List.of(
          "--max_steps=2",
          "--eval_strategy=no",
          "--rollout_batch_size=2",
          "--num_generations=2",
          "--max_new_tokens=8");

  /** What a training is cut short with. */
  private static final Map<String, List<String>> SHORT =
      Map.of(
          "sft", List.of("--max_steps=2", "--eval_strategy=no"),
          "reward", List.of("--max_steps=2", "--eval_strategy=no"),
          "raft",
              List.of(
                  "--max_steps=2",
                  "--eval_strategy=no",
                  "--prompts_per_iteration=4",
                  "--samples_per_prompt=2",
                  "--max_new_tokens=8"),
          "ppo",
              List.of(
                  "--max_steps=2",
                  "--eval_strategy=no",
                  "--rollout_batch_size=4",
                  "--mini_batch_size=4",
                  "--per_device_train_batch_size=2",
                  "--max_new_tokens=8"),
          "grpo", SHORT_GROUPS,
          "rloo", SHORT_GROUPS,
          "reinforce-pp", SHORT_GROUPS);

  /** Where the README has the server. */
  private static final String SERVED = "http://127.0.0.1:5000";

  @TempDir Path folder;
  private Process server;
  private String served;

  private static Path root() {
    Path place = Path.of("").toAbsolutePath();
    while (!Files.isDirectory(place.resolve("configs"))) {
      place = place.getParent();
    }
    return place;
  }

  @BeforeEach
  void checkout() throws IOException {
    for (String name : List.of("configs", "examples")) {
      Files.createSymbolicLink(folder.resolve(name), ROOT.resolve(name));
    }
    Files.writeString(
        folder.resolve("prompts.jsonl"),
        "{\"prompt\": \"\\n\\nHuman: Hi\\n\\nAssistant:\"}\n{\"prompt\": \"Once\"}\n");
  }

  private static List<String> found(Path file, String pattern) throws IOException {
    return Pattern.compile(pattern, Pattern.DOTALL)
        .matcher(Files.readString(file))
        .results()
        .map((MatchResult match) -> match.group(1))
        .toList();
  }

  @Test
  void everyCommandRuns() throws Exception {
    Set<String> commands = new LinkedHashSet<>();
    for (String command : found(ROOT.resolve("README.md"), "\\./rlhf ([^`\n#]+)")) {
      if (!command.startsWith("VERB")) {
        commands.add(command.strip());
      }
    }
    assertTrue(commands.size() >= 9, commands.toString());
    Verbs.ALL.forEach(verb -> commands.add(verb.example()));
    Set<String> verbs = new TreeSet<>();
    List<String> lines = new ArrayList<>();
    for (String command : commands) {
      List<String> words = new ArrayList<>(List.of(command.split(" ")));
      String verb = words.get(0);
      verbs.add(verb);
      if (verb.equals("quickstart") || verb.equals("demo")) {
        // They have tests of their own.
        words.add(0, "validate");
      }
      words.addAll(SHORT.getOrDefault(verb, List.of()));
      if (SHORT.containsKey(verb)) {
        words.add("--overwrite_output_dir=true");
      }
      words.replaceAll(word -> word.equals(SERVED) ? served : word);
      if (verb.equals("serve-reward")) {
        run(lines);
        lines.clear();
        serve(words);
      } else {
        lines.add(String.join("\t", words));
      }
    }
    run(lines);
    server.destroy();
    assertEquals(ExitCode.TERMINATED.code(), server.waitFor());
    Set<String> all = new TreeSet<>();
    Verbs.ALL.forEach(verb -> all.add(verb.name()));
    assertEquals(all, verbs);
    for (String made : List.of("hh-raft-tiny", "by-hand", "hh-raft-http")) {
      assertTrue(Files.exists(folder.resolve("runs").resolve(made + "/model.safetensors")), made);
    }
    assertEquals(2, lines("responses.jsonl"));
    assertEquals(16, lines("scores.jsonl"));
    assertEquals(2, lines("selected.jsonl"));
  }

  /** Runs command lines in the folder, in one process. */
  private void run(List<String> lines) throws IOException, InterruptedException {
    Path file = Files.write(folder.resolve("lines.txt"), lines);
    execute(List.of(CommandLines.class.getName(), file.toString()));
  }

  /** Starts a server, at a free port, that the commands after it are to ask. */
  private void serve(List<String> words) throws IOException, InterruptedException {
    Path log = folder.resolve("server.txt");
    List<String> line = new ArrayList<>(java());
    line.add(Main.class.getName());
    line.addAll(words);
    line.add("--port=0");
    server =
        new ProcessBuilder(line)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    Pattern ready = Pattern.compile(" answers at (http://\\S+)");
    Matcher found = ready.matcher("");
    while (!found.reset(Files.readString(log)).find()) {
      assertTrue(server.isAlive(), Files.readString(log));
      TimeUnit.MILLISECONDS.sleep(50);
    }
    served = found.group(1);
  }

  @AfterEach
  void endServer() {
    if (server != null) {
      server.destroyForcibly();
    }
  }

  private long lines(String file) throws IOException {
    try (Stream<String> lines = Files.lines(folder.resolve(file))) {
      return lines.count();
    }
  }

  @Test
  void theJavaOfTheReadmeTrains() throws Exception {
    List<String> snippets = found(ROOT.resolve("README.md"), "```java\n(.*?)```");
    assertEquals(1, snippets.size());
    String cut = snippets.get(0).replace(".build()", ".set(\"max_steps\", 2).build()");
    assertTrue(!cut.equals(snippets.get(0)));
    Path source =
        Files.writeString(
            folder.resolve("Snippet.java"),
            """
            import org.rlhf4j.core.config.*;
            import org.rlhf4j.core.train.*;
            import org.rlhf4j.sft.*;
            class Snippet {
              public static void main(String[] arguments) {
                %s
              }
            }
            """
                .formatted(cut));
    execute(List.of(source.toString()));
    assertTrue(Files.exists(folder.resolve("runs/sft/model.safetensors")));
  }

  /** By the class path that the launcher leaves, which is that of this test but for jars. */
  @Test
  void theExampleOfTheReadmeRunsFromItsSource() throws Exception {
    List<String> sources =
        found(
            ROOT.resolve("README.md"),
            "java -cp \"\\$\\(cat rlhf-cli/target/launcher/classpath-cpu\\)\" (\\S+\\.java)\n");
    assertEquals(1, sources.size());
    execute(List.of(ROOT.resolve(sources.get(0)).toString()));
    assertTrue(Files.exists(folder.resolve("runs/example-custom-reward/model.safetensors")));
  }

  @Test
  void theVersionsOfTheReadmeAreThoseOfTheBuild() throws IOException {
    Map<String, String> versions = new LinkedHashMap<>();
    for (String one : found(ROOT.resolve("README.md"), "<dependency>(.*?)</dependency>")) {
      String artifact = one.replaceAll("(?s).*<artifactId>(.*?)</artifactId>.*", "$1");
      versions.put(artifact, one.replaceAll("(?s).*<version>(.*?)</version>.*", "$1"));
    }
    String pom = Files.readString(ROOT.resolve("pom.xml"));
    assertEquals(Set.of("rlhf-sft", "pytorch-native-cpu"), versions.keySet());
    assertTrue(
        pom.contains(
            "<artifactId>rlhf4j-parent</artifactId>\n  <version>" + versions.get("rlhf-sft")));
    assertTrue(pom.contains(">" + versions.get("pytorch-native-cpu") + "<"));
  }

  private static List<String> java() {
    return List.of(
        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dai.djl.offline=true",
        "-cp",
        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")));
  }

  private void execute(List<String> words) throws IOException, InterruptedException {
    List<String> line = new ArrayList<>(java());
    line.addAll(words);
    Path log = folder.resolve("log.txt");
    Process process =
        new ProcessBuilder(line)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    assertTrue(process.waitFor(10, TimeUnit.MINUTES), Files.readString(log));
    assertEquals(0, process.exitValue(), Files.readString(log));
  }
}
