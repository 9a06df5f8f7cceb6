package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;

/** The command that a model's card gives is one that runs, whatever its folder is called. */
class ModelCardTest {
  @TempDir Path folder;

  @Test
  void theCommandRuns() throws IOException, InterruptedException {
    TinyRuns tiny = new TinyRuns(folder);
    Path output = folder.resolve("the model's $HOME");
    CommandLineRun trained = CommandLineRun.of(tiny.train("sft", output, "--max_steps", "1"));
    assertEquals(ExitCode.DONE, trained.code(), trained.errors().toString());
    String command =
        Files.readAllLines(output.resolve("README.md")).stream()
            .filter(line -> line.startsWith("./rlhf generate "))
            .findFirst()
            .orElseThrow();

    // A shell says which words it makes of the line.
    List<String> words = new ArrayList<>();
    Process shell =
        new ProcessBuilder("sh", "-c", command.replaceFirst("\\./rlhf", "printf '%s\\\\n'"))
            .redirectErrorStream(true)
            .start();
    new String(shell.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
        .lines()
        .forEach(words::add);
    assertEquals(0, shell.waitFor(), words.toString());
    words.set(words.indexOf("--dataset_path") + 1, tiny.prompts.toString());
    Path responses = folder.resolve("out.jsonl");
    words.set(words.indexOf("--output_path") + 1, responses.toString());
    words.addAll(List.of("--device", "cpu", "--dtype", "fp32", "--max_new_tokens", "2"));
    CommandLineRun generated = CommandLineRun.of(words);
    assertEquals(ExitCode.DONE, generated.code(), words + " " + generated.errors());
    assertTrue(Files.exists(responses));
  }
}
