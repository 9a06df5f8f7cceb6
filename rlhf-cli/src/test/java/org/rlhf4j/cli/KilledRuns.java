package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.rlhf4j.core.ExitCode;

/** Command lines as processes that are killed at a moment of their run, and what they say. */
final class KilledRuns {
  /** What the names of files begin with that are still being written. */
  static final String UNFINISHED = ".rlhf4j-partial-";

  private static final int KILLED = 128 + 9;
  private static final int LONGEST_DELAY_MILLIS = 20;

  private final Path log;
  private final Random delays = new Random(5);

  /** Runs that write what they say into a file of a folder, one at a time. */
  KilledRuns(Path folder) {
    this.log = folder.resolve("log.txt");
  }

  /** What a run has come to when it is stopped. */
  @FunctionalInterface
  interface Moment {
    boolean reached() throws IOException;
  }

  private Process start(List<String> words) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"));
    command.add("-Dai.djl.offline=true");
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
    command.addAll(words);
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().put("OMP_NUM_THREADS", "1");
    return builder.redirectOutput(log.toFile()).start();
  }

  void finish(List<String> words) throws IOException, InterruptedException {
    assertEquals(0, start(words).waitFor(), () -> output());
  }

  /** The undisturbed run, within this process. */
  static void whole(List<String> words) {
    CommandLineRun run = CommandLineRun.of(words);
    assertEquals(ExitCode.DONE, run.code(), run.errors().toString());
  }

  String output() {
    try {
      return Files.readString(log);
    } catch (IOException e) {
      return e.toString();
    }
  }

  /** Kills a run a random while after a moment, and requires that it had not ended by itself. */
  void killAt(List<String> words, Moment moment) throws IOException, InterruptedException {
    Process process = waitFor(words, moment);
    Thread.sleep(delays.nextInt(LONGEST_DELAY_MILLIS));
    process.destroyForcibly();
    assertEquals(KILLED, process.waitFor(), () -> output());
  }

  Process waitFor(List<String> words, Moment moment) throws IOException, InterruptedException {
    Process process = start(words);
    while (!moment.reached()) {
      assertTrue(process.isAlive(), () -> output());
      TimeUnit.MICROSECONDS.sleep(200);
    }
    return process;
  }

  static long metricRows(Path output) throws IOException {
    Path file = output.resolve("metrics.jsonl");
    if (!Files.exists(file)) {
      return 0;
    }
    try (var lines = Files.lines(file)) {
      return lines.count();
    }
  }
}
