package org.rlhf4j.cli;

import java.io.PrintStream;
import java.util.List;
import org.rlhf4j.core.train.StopSignal;

/**
 * What a verb has of the process around it.
 *
 * @param out results
 * @param err progress, warnings and errors
 * @param stop set when the user asks for the end
 * @param command the words of the command line, verb first
 */
record Session(PrintStream out, PrintStream err, StopSignal stop, List<String> command) {}
