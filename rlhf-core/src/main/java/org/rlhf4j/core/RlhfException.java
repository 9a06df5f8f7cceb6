package org.rlhf4j.core;

import java.util.Comparator;
import java.util.List;
import java.util.stream.Collectors;

/**
 * A failure that its reader can mend. The message stands alone: it names the file, line or key,
 * what was found and what is allowed. The command line prints it without a stack trace and ends
 * with {@link #exitCode()}.
 */
public final class RlhfException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final ExitCode exitCode;

  private RlhfException(ExitCode exitCode, String message, Throwable cause) {
    super(message, cause);
    this.exitCode = exitCode;
  }

  /** A wrong command line or configuration. */
  public static RlhfException config(String message) {
    return new RlhfException(ExitCode.CONFIG, message, null);
  }

  /** A model, data or tokenizer file that is missing, corrupt or unusable. */
  public static RlhfException input(String message) {
    return new RlhfException(ExitCode.INPUT, message, null);
  }

  /** As {@link #input(String)}, keeping the technical cause. */
  public static RlhfException input(String message, Throwable cause) {
    return new RlhfException(ExitCode.INPUT, message, cause);
  }

  /** A loss, gradient or reward that is not finite. */
  public static RlhfException nonFinite(String message) {
    return new RlhfException(ExitCode.NON_FINITE, message, null);
  }

  /** An unwritable folder, a full disk, an unreachable server, no memory left. */
  public static RlhfException environment(String message, Throwable cause) {
    return new RlhfException(ExitCode.ENVIRONMENT, message, cause);
  }

  /**
   * One for several: a line or more for each, and the exit status of what is mended first, the
   * configuration before the input and the input before the surroundings.
   *
   * @param failures at least one
   */
  public static RlhfException together(List<RlhfException> failures) {
    RlhfException first =
        failures.stream()
            .min(Comparator.comparingInt(failure -> failure.exitCode().code()))
            .orElseThrow();
    String lines =
        failures.stream().map(RlhfException::getMessage).collect(Collectors.joining("\n"));
    return new RlhfException(first.exitCode(), lines, first.getCause());
  }

  /** The exit status that the command line ends with. */
  public ExitCode exitCode() {
    return exitCode;
  }
}
