package org.rlhf4j.cli;

import java.io.PrintStream;
import java.util.List;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.train.RunContext;
import org.rlhf4j.core.train.StopSignal;

/**
 * What a verb has of the process around it.
 *
 * @param out results
 * @param err warnings and errors
 * @param stop set when the user asks for the end
 * @param console shows progress and results on {@code out}
 * @param command the words of the command line, verb first
 */
record Session(
    PrintStream out, PrintStream err, StopSignal stop, Console console, List<String> command) {
  private static final int PLAIN_WIDTH = 100;

  /** A session whose console writes plain lines. */
  Session(PrintStream out, PrintStream err, StopSignal stop, List<String> command) {
    this(out, err, stop, Console.plain(out, PLAIN_WIDTH), command);
  }

  /** What a trainer wants to know of all this. */
  RunContext runContext() {
    return new RunContext(console, stop, row -> {}, command);
  }
}
