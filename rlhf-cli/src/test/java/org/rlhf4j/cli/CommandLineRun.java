package org.rlhf4j.cli;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.train.StopSignal;

/**
 * A command line that ran within this process.
 *
 * @param code how it ended
 * @param out standard output
 * @param errors the lines of standard error
 */
record CommandLineRun(ExitCode code, String out, List<String> errors) {
  static CommandLineRun of(List<String> words) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    Session session =
        new Session(
            new PrintStream(out, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8),
            new StopSignal(),
            words);
    ExitCode code = Main.run(Verbs.ALL, session);
    return new CommandLineRun(
        code,
        out.toString(StandardCharsets.UTF_8),
        err.toString(StandardCharsets.UTF_8).lines().toList());
  }
}
