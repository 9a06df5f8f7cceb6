package org.rlhf4j.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.Nearest;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.DisplayText;
import org.rlhf4j.core.train.Checks;
import org.rlhf4j.core.train.StopSignal;

/** The command line: {@code rlhf VERB [--config FILE] [--KEY VALUE]…}. */
public final class Main {
  private static final String VALIDATE = "validate";
  private static final String VALIDATE_SUMMARY =
      "Checks a configuration, and the models and rows it names, without running it.";

  private final List<Verb<?>> verbs;
  private final Session session;

  private Main(List<Verb<?>> verbs, Session session) {
    this.verbs = verbs;
    this.session = session;
  }

  /** Runs a command line and ends the process. */
  public static void main(String[] args) {
    // Numbers are written alike everywhere; Arabic digits and German points stand in no log.
    Locale.setDefault(Locale.Category.FORMAT, Locale.ROOT);
    PrintStream out = utf8(FileDescriptor.out);
    PrintStream err = utf8(FileDescriptor.err);
    Session session = new Session(out, err, new StopSignal(), Console.standard(), List.of(args));
    ExitCode exitCode = run(Verbs.ALL, session);
    System.exit(exitCode.code());
  }

  private static PrintStream utf8(FileDescriptor descriptor) {
    return new PrintStream(new FileOutputStream(descriptor), true, StandardCharsets.UTF_8);
  }

  /**
   * Runs a command line without ending the process.
   *
   * @param verbs the verbs there are besides {@code validate}
   */
  static ExitCode run(List<Verb<?>> verbs, Session session) {
    ExitCode exitCode;
    try {
      exitCode = new Main(verbs, session).dispatch(session.command());
    } catch (RuntimeException | Error e) {
      exitCode = Failures.report(e, null, session.err());
    }
    session.out().flush();
    session.err().flush();
    return exitCode;
  }

  private ExitCode dispatch(List<String> args) {
    if (args.isEmpty()) {
      overview(session.err());
      return ExitCode.CONFIG;
    }
    String word = args.get(0);
    List<String> rest = args.subList(1, args.size());
    switch (word) {
      case "-h", "--help", "help" -> {
        overview(session.out());
        return ExitCode.DONE;
      }
      case "--version" -> {
        session.out().println("rlhf " + version());
        return ExitCode.DONE;
      }
      case VALIDATE -> {
        return validate(rest);
      }
      default -> {
        for (Verb<?> verb : verbs) {
          if (verb.name().equals(word)) {
            return runVerb(verb, rest);
          }
        }
        throw RlhfException.config("unknown verb '" + word + "', " + Nearest.hint(word, words()));
      }
    }
  }

  private <C extends Record> ExitCode runVerb(Verb<C> verb, List<String> args) {
    CommandReader<C> reader =
        new CommandReader<>("rlhf " + verb.name(), verb.summary(), verb.config(), verb.bareKey());
    CommandReader.Request<C> request = reader.read(args);
    if (request.help()) {
      reader.printHelp(session.out());
      session.out().println("Example, in the folder of ./rlhf:");
      session.out().println("  ./rlhf " + verb.example());
      return ExitCode.DONE;
    }
    C config = request.builder().onWarning(this::warn).requirePaths().build();
    useThreads(request);
    if (verb.stopsOnSignal()) {
      Signals.handle(session.stop(), session.err());
    }
    try {
      return verb.run(config, session);
    } catch (RuntimeException | Error e) {
      Object outputDir = Config.toMap(config).get("output_dir");
      Path folder = outputDir == null ? null : Path.of(outputDir.toString());
      return Failures.report(e, folder, session.err());
    }
  }

  private static void useThreads(CommandReader.Request<?> request) {
    if (request.threads() > 0) {
      // Read by DJL when it loads PyTorch, which no code has done yet.
      System.setProperty("ai.djl.pytorch.num_threads", Integer.toString(request.threads()));
    }
  }

  private ExitCode validate(List<String> args) {
    List<String> known = verbs.stream().map(Verb::name).toList();
    String usage = "rlhf validate " + String.join("|", known) + " [--config FILE] [--KEY VALUE]…";
    if (args.isEmpty() || args.get(0).equals("--help") || args.get(0).equals("-h")) {
      PrintStream stream = args.isEmpty() ? session.err() : session.out();
      stream.println("Usage: " + usage + "\n" + VALIDATE_SUMMARY);
      stream.println(
          "It takes the keys of the verb, and prints the configuration with its defaults and what"
              + " was found;\nor all that is found to stop a run. No weights are loaded, nothing is"
              + " written.");
      return args.isEmpty() ? ExitCode.CONFIG : ExitCode.DONE;
    }
    for (Verb<?> verb : verbs) {
      if (verb.name().equals(args.get(0))) {
        return validate(verb, args.subList(1, args.size()));
      }
    }
    throw RlhfException.config(
        "validate: unknown kind '" + args.get(0) + "', allowed: " + String.join(", ", known));
  }

  private <C extends Record> ExitCode validate(Verb<C> verb, List<String> args) {
    CommandReader<C> reader =
        new CommandReader<>(
            "rlhf validate " + verb.name(), VALIDATE_SUMMARY, verb.config(), verb.bareKey());
    CommandReader.Request<C> request = reader.read(args);
    if (request.help()) {
      reader.printHelp(session.out());
      return ExitCode.DONE;
    }
    Checks checks = new Checks(this::warn);
    C config = build(reader, args, checks);
    useThreads(request);
    checks.require(() -> verb.check(config, checks));
    checks.throwProblems();
    session.out().print(Config.toYaml(config));
    int names = checks.facts().stream().mapToInt(fact -> fact.name().length()).max().orElse(0);
    for (Checks.Fact fact : checks.facts()) {
      // A comment: what is printed is a configuration, with the defaults, that can be used as it
      // is.
      session.out().println("# " + DisplayText.fit(fact.name(), names) + "  " + fact.text());
    }
    String extent =
        checks.facts().isEmpty() ? " (only its keys, and that its files are there)" : "";
    session.out().println("# valid for: rlhf " + verb.name() + extent);
    return ExitCode.DONE;
  }

  /** A configuration; where nothing but files is missing, that is one problem among others. */
  private <C extends Record> C build(CommandReader<C> reader, List<String> args, Checks checks) {
    try {
      return reader.read(args).builder().onWarning(this::warn).requirePaths().build();
    } catch (RlhfException e) {
      if (e.exitCode() != ExitCode.INPUT) {
        throw e;
      }
      checks.problem(e);
      C config = checks.look(() -> reader.read(args).builder().onWarning(line -> {}).build());
      if (config == null) {
        // Its keys depend on a model that cannot be read.
        checks.throwProblems();
      }
      return config;
    }
  }

  private void warn(String line) {
    session.err().println("warning: " + line);
  }

  private List<String> words() {
    List<String> words = new ArrayList<>(verbs.stream().map(Verb::name).toList());
    words.add(VALIDATE);
    return words;
  }

  private void overview(PrintStream stream) {
    stream.println("Usage: rlhf VERB [--config FILE] [--KEY VALUE]…");
    stream.println();
    for (Verb<?> verb : verbs) {
      stream.printf("  %-12s %s%n", verb.name(), verb.summary());
    }
    stream.printf("  %-12s %s%n", VALIDATE, VALIDATE_SUMMARY);
    stream.println();
    stream.println("rlhf VERB --help lists the keys of a verb, with an example.");
  }

  private static String version() {
    String version = Main.class.getPackage().getImplementationVersion();
    return version == null ? "development build" : version;
  }
}
