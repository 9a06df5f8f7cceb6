package org.rlhf4j.core;

/** How a run ended, as the process reports it. */
public enum ExitCode {
  /** Everything asked for was done. */
  DONE(0),
  /** A defect of RLHF4J itself. */
  DEFECT(1),
  /** The command line or the configuration is wrong. */
  CONFIG(2),
  /** A model, data or tokenizer file is missing, corrupt or unusable. */
  INPUT(3),
  /** Training met a number that is not finite. */
  NON_FINITE(4),
  /** The surroundings failed: unwritable folder, full disk, unreachable server, no memory. */
  ENVIRONMENT(5),
  /** Stopped by SIGINT after saving. */
  INTERRUPTED(130),
  /** Stopped by SIGTERM after saving. */
  TERMINATED(143);

  private final int code;

  ExitCode(int code) {
    this.code = code;
  }

  /** The process exit status. */
  public int code() {
    return code;
  }
}
