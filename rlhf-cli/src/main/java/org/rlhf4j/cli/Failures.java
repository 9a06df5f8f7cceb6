package org.rlhf4j.cli;

import java.io.IOException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Locale;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;

/** Says what went wrong in one line each and decides on the exit status. */
final class Failures {
  private static final String MEMORY_ADVICE =
      "out of memory: lower per_device_train_batch_size (and raise gradient_accumulation_steps), "
          + "max_length or batch_size, or set activation_checkpointing true";

  private Failures() {}

  /**
   * Reports a failure.
   *
   * @param failure what was thrown
   * @param outputDir where a defect's stack trace goes; null or absent: the temporary folder
   * @param err takes the lines
   */
  static ExitCode report(Throwable failure, Path outputDir, PrintStream err) {
    if (failure instanceof RlhfException known) {
      known.getMessage().lines().forEach(line -> err.println("error: " + line));
      return known.exitCode();
    }
    if (outOfMemory(failure)) {
      err.println("error: " + MEMORY_ADVICE);
      return ExitCode.ENVIRONMENT;
    }
    String surroundings = surroundings(failure);
    if (surroundings != null) {
      err.println("error: " + surroundings);
      return ExitCode.ENVIRONMENT;
    }
    err.println(
        "error: this is a defect of RLHF4J: " + firstLine(failure) + trace(failure, outputDir));
    return ExitCode.DEFECT;
  }

  /** The JVM's own, or what PyTorch says when an allocation of tensors fails. */
  private static boolean outOfMemory(Throwable failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      String message =
          cause.getMessage() == null ? "" : cause.getMessage().toLowerCase(Locale.ROOT);
      if (cause instanceof OutOfMemoryError
          || message.contains("not enough memory")
          || message.contains("out of memory")) {
        return true;
      }
    }
    return false;
  }

  /** A full disk or a folder that may not be written, met where no better message was made. */
  private static String surroundings(Throwable failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      String message = cause.getMessage() == null ? "" : cause.getMessage();
      if (cause instanceof AccessDeniedException) {
        return message + ": permission denied";
      }
      if (cause instanceof IOException
          && (message.contains("No space left")
              || message.contains("Read-only file system")
              || message.contains("quota exceeded"))) {
        return message;
      }
    }
    return null;
  }

  private static String firstLine(Throwable failure) {
    return failure.toString().lines().findFirst().orElse(failure.getClass().getName());
  }

  /** Writes the stack trace and says where. */
  private static String trace(Throwable failure, Path outputDir) {
    try {
      Path file =
          outputDir != null && Files.isDirectory(outputDir) && Files.isWritable(outputDir)
              ? outputDir.resolve("error.log")
              : Files.createTempFile("rlhf-error-", ".log");
      try (PrintWriter writer =
          new PrintWriter(Files.newBufferedWriter(file, StandardCharsets.UTF_8))) {
        writer.println(Instant.now());
        failure.printStackTrace(writer);
      }
      return "; the stack trace is in " + file;
    } catch (IOException e) {
      return "; its stack trace could not be written: " + e;
    }
  }
}
