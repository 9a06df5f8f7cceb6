package org.rlhf4j.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.train.StopSignal;

/** Command lines that run in one process, in a folder that a test cannot go to by itself. */
public final class CommandLines {
  private CommandLines() {}

  /**
   * Runs them one after another, and ends the process as soon as one fails.
   *
   * @param args a file with a command line in each line, its words separated by tabs
   */
  public static void main(String[] args) throws IOException {
    for (String line : Files.readAllLines(Path.of(args[0]))) {
      System.out.println("$ " + line);
      List<String> words = List.of(line.split("\t"));
      ExitCode code =
          Main.run(Verbs.ALL, new Session(System.out, System.err, new StopSignal(), words));
      if (code != ExitCode.DONE) {
        System.exit(code.code());
      }
    }
    System.exit(ExitCode.DONE.code());
  }
}
