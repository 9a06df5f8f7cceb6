package org.rlhf4j.cli;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.UsageMessageSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;

/**
 * The options of one verb, made from its record: {@code --config}, {@code --threads}, {@code
 * --help} and one per key. Everything that is wrong with a command line ends up in the builder's
 * list of problems, so that all of it is shown at once.
 *
 * @param <C> the record
 */
final class CommandReader<C extends Record> {
  private final Class<C> type;
  private final String bareKey;
  private final CommandLine commandLine;

  /** Whether the record has a key of that name, which then takes the place of the option. */
  private final boolean ownThreads;

  /**
   * @param words the words before the options, as {@code "rlhf sft"}
   * @param summary one line for the help
   * @param type the record
   * @param bareKey the key that a bare argument stands for, or empty
   */
  CommandReader(String words, String summary, Class<C> type, String bareKey) {
    this.type = type;
    this.bareKey = bareKey;
    this.ownThreads = Config.keys(type).stream().anyMatch(key -> key.name().equals("threads"));
    CommandSpec spec = CommandSpec.create().name(words);
    String bare = bareKey.isEmpty() ? "" : " [" + bareKey.toUpperCase(Locale.ROOT) + "]";
    spec.usageMessage()
        .description(escape(summary))
        .customSynopsis(words + bare + " [--config FILE] [--KEY VALUE]…")
        .sortOptions(false)
        .width(100)
        .longOptionsMaxWidth(44);
    spec.addOption(
        option("--config", "FILE", "YAML file of 'key: value' lines; options override it."));
    Config.keys(type).stream()
        .map(key -> option("--" + key.name(), key.placeholder(), key.help()))
        .forEach(spec::addOption);
    if (!ownThreads) {
      spec.addOption(
          option("--threads", "N", "CPU threads to compute with (default: PyTorch's choice)"));
    }
    spec.addOption(
        OptionSpec.builder("-h", "--help").usageHelp(true).description("Shows this.").build());
    spec.parser()
        .collectErrors(true)
        .unmatchedArgumentsAllowed(true)
        .posixClusteredShortOptionsAllowed(false);
    this.commandLine = new CommandLine(spec).setExpandAtFiles(false);
    commandLine
        .getHelpSectionMap()
        .put(UsageMessageSpec.SECTION_KEY_OPTION_LIST, help -> optionList(help, type));
  }

  /** The options, with the record's headings between them, all in the same two columns. */
  private static String optionList(CommandLine.Help help, Class<? extends Record> type) {
    Map<String, String> headings = new HashMap<>();
    Config.keys(type).forEach(key -> headings.put("--" + key.name(), key.heading()));
    StringBuilder text = new StringBuilder();
    String heading = "";
    CommandLine.Help.Layout layout = help.createDefaultLayout();
    for (OptionSpec option : help.commandSpec().options()) {
      // What every verb has stands above the headings, and below them.
      String next = headings.getOrDefault(option.longestName(), "");
      if (!next.equals(heading)) {
        text.append(layout).append(System.lineSeparator());
        text.append(next.isEmpty() ? "" : next + ":" + System.lineSeparator());
        heading = next;
        layout = help.createDefaultLayout();
      }
      layout.addOption(option, help.parameterLabelRenderer());
    }
    return text.append(layout).toString();
  }

  private static OptionSpec option(String name, String placeholder, String description) {
    return OptionSpec.builder(name)
        .type(String.class)
        .arity("1")
        .paramLabel(placeholder)
        .description(escape(description))
        .build();
  }

  /** Descriptions are format strings to picocli. */
  private static String escape(String text) {
    return text.replace("%", "%%");
  }

  /**
   * What a command line asked for.
   *
   * @param <C> the record
   * @param help whether only help is wanted
   * @param threads CPU threads, 0 where none are given
   * @param builder holds all values and problems
   */
  record Request<C extends Record>(boolean help, int threads, ConfigBuilder<C> builder) {}

  void printHelp(PrintStream out) {
    commandLine.usage(out, CommandLine.Help.Ansi.OFF);
  }

  Request<C> read(List<String> arguments) {
    ConfigBuilder<C> builder = Config.of(type);
    ParseResult parsed = commandLine.parseArgs(arguments.toArray(String[]::new));
    int threads = 0;
    for (Exception error : parsed.errors()) {
      builder.problem(message(error));
    }
    for (OptionSpec option : parsed.matchedOptionsSet()) {
      String name = option.longestName().substring(2);
      if (option.usageHelp()) {
        continue;
      }
      String value = parsed.matchedOptionValue(option.longestName(), null);
      if (name.equals("config")) {
        builder.file(Path.of(value));
      } else if (name.equals("threads") && !ownThreads) {
        threads = threads(value, builder);
      } else {
        builder.option(name, value);
      }
    }
    unmatched(parsed.unmatched(), builder);
    return new Request<>(parsed.isUsageHelpRequested(), threads, builder);
  }

  private static int threads(String value, ConfigBuilder<?> builder) {
    if (value.matches("[1-9]\\d{0,3}")) {
      return Integer.parseInt(value);
    }
    builder.problem("--threads: found '" + value + "', allowed: a whole number >= 1");
    return 0;
  }

  private static String message(Exception error) {
    if (error instanceof CommandLine.OverwrittenOptionException twice) {
      return twice.getOverwritten().paramLabel().isEmpty()
          ? twice.getMessage()
          : ((OptionSpec) twice.getOverwritten()).longestName() + ": given twice";
    }
    if (error instanceof CommandLine.MissingParameterException missing
        && !missing.getMissing().isEmpty()
        && missing.getMissing().get(0) instanceof OptionSpec option) {
      return option.longestName() + ": has no value";
    }
    if (error instanceof ParameterException) {
      return error.getMessage();
    }
    throw new IllegalStateException("the command line could not be read", error);
  }

  /** Options that do not exist go to the builder, which names the nearest key. */
  private void unmatched(List<String> words, ConfigBuilder<C> builder) {
    List<String> bare = new ArrayList<>();
    for (int i = 0; i < words.size(); i++) {
      String word = words.get(i);
      if (!word.startsWith("-")) {
        bare.add(word);
        continue;
      }
      int equals = word.indexOf('=');
      String name = equals < 0 ? word : word.substring(0, equals);
      String value = equals < 0 ? "" : word.substring(equals + 1);
      boolean valueFollows = i + 1 < words.size() && !words.get(i + 1).startsWith("--");
      if (equals < 0 && valueFollows) {
        value = words.get(++i);
      }
      builder.option(name.replaceFirst("^--?", ""), value);
    }
    if (!bareKey.isEmpty() && !bare.isEmpty()) {
      builder.option(bareKey, bare.remove(0));
    }
    for (String word : bare) {
      builder.problem("unexpected argument '" + word + "'; options are written --key value");
    }
  }
}
