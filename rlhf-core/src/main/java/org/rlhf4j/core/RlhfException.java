package org.rlhf4j.core;

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

  /** The exit status that the command line ends with. */
  public ExitCode exitCode() {
    return exitCode;
  }
}
