package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.jdi.Bootstrap;
import com.sun.jdi.Method;
import com.sun.jdi.VMDisconnectedException;
import com.sun.jdi.VirtualMachine;
import com.sun.jdi.connect.Connector;
import com.sun.jdi.connect.IllegalConnectorArgumentsException;
import com.sun.jdi.connect.ListeningConnector;
import com.sun.jdi.event.BreakpointEvent;
import com.sun.jdi.event.ClassPrepareEvent;
import com.sun.jdi.event.Event;
import com.sun.jdi.event.EventSet;
import com.sun.jdi.request.BreakpointRequest;
import com.sun.jdi.request.ClassPrepareRequest;
import com.sun.jdi.request.EventRequest;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.checkpoint.AtomicFolder;
import org.rlhf4j.core.generate.Generator;
import org.rlhf4j.core.report.MetricsLog;
import org.rlhf4j.core.torch.Torch;
import org.rlhf4j.reward.ModelReward;

/**
 * Command lines as processes that are killed at a moment of their run, and what they say. A
 * debugger halts them for it: a run that was only watched could end before it is killed.
 */
final class KilledRuns {
  /** What the names of files begin with that are still being written, or being deleted. */
  private static final String UNFINISHED = ".rlhf4j-partial-";

  /**
   * A method before which a run is halted, to see whether its moment has come.
   *
   * @param type name of its class; with {@code *} at the end, what names begin with
   */
  private record Halt(String type, String method) {}

  private static final List<Halt> HALTS =
      List.of(
          new Halt(AtomicFolder.class.getName(), "commit"),
          // Between two parts of a file.
          new Halt(AtomicFiles.class.getName(), "writeFully"),
          // Between two files of a folder that is deleted.
          new Halt(AtomicFiles.class.getName() + "$*", "visitFile"),
          new Halt(MetricsLog.class.getName(), "append"),
          new Halt(Generator.class.getName(), "generate"),
          new Halt(ModelReward.class.getName(), "rewards"));

  /** The name of the method to halt before, kept with the request for its class. */
  private static final String METHOD = "method";

  private static final int KILLED = 128 + 9;
  private static final int TERMINATED = 128 + 15;

  private final Path log;
  private final String products;

  /** Runs that write what they say into a file of a folder, one at a time. */
  KilledRuns(Path folder) {
    this.log = folder.resolve("log.txt");
    try (Torch torch = Torch.open("cpu")) {
      this.products = torch.products().name().toLowerCase(Locale.ROOT);
    }
  }

  /** What a run has come to when it is stopped. */
  @FunctionalInterface
  interface Moment {
    boolean reached() throws IOException;
  }

  /** A process whose thread is halted. */
  private record Halted(Process process, VirtualMachine machine) {}

  private Process start(List<String> options, List<String> words) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"));
    command.add("-Dai.djl.offline=true");
    // Which is faster is measured by each process, and where they are alike two may choose
    // otherwise.
    command.add("-Dorg.rlhf4j.products=" + products);
    command.addAll(options);
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
    command.addAll(words);
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().put("OMP_NUM_THREADS", "1");
    return builder.redirectOutput(log.toFile()).start();
  }

  void finish(List<String> words) throws IOException, InterruptedException {
    Process process = start(List.of(), words);
    try {
      assertEquals(0, process.waitFor(), () -> output());
    } finally {
      process.destroyForcibly();
    }
  }

  /** The undisturbed run, within this process. */
  static void whole(List<String> words) {
    CommandLineRun run = CommandLineRun.of(words);
    assertEquals(ExitCode.DONE, run.code(), run.errors().toString());
  }

  String output() {
    try {
      return Files.readString(log);
    } catch (IOException e) {
      return e.toString();
    }
  }

  /** Kills a run at a moment. */
  void killAt(List<String> words, Moment moment) throws IOException, InterruptedException {
    Process process = haltAt(words, moment).process();
    process.destroyForcibly();
    assertEquals(KILLED, process.waitFor(), () -> output());
  }

  /** Sends a run SIGTERM at a moment, and lets it go on once it has noticed. */
  void terminateAt(List<String> words, Moment moment) throws IOException, InterruptedException {
    Halted run = haltAt(words, moment);
    try {
      run.process().destroy();
      while (!output().contains("Stopping: ")) {
        assertTrue(run.process().isAlive(), () -> output());
        TimeUnit.MILLISECONDS.sleep(10);
      }
      run.machine().dispose();
      assertEquals(TERMINATED, run.process().waitFor(), () -> output());
    } finally {
      run.process().destroyForcibly();
    }
  }

  private Halted haltAt(List<String> words, Moment moment)
      throws IOException, InterruptedException {
    ListeningConnector connector =
        Bootstrap.virtualMachineManager().listeningConnectors().stream()
            .filter(each -> each.name().equals("com.sun.jdi.SocketListen"))
            .findFirst()
            .orElseThrow();
    Map<String, Connector.Argument> arguments = connector.defaultArguments();
    arguments.get("localAddress").setValue("127.0.0.1");
    arguments.get("timeout").setValue(Long.toString(TimeUnit.MINUTES.toMillis(4)));
    try {
      String address = connector.startListening(arguments);
      String port = address.substring(address.lastIndexOf(':') + 1);
      String options =
          "-agentlib:jdwp=transport=dt_socket,server=n,suspend=y,address=127.0.0.1:" + port;
      Process process = start(List.of(options), words);
      boolean isHalted = false;
      try {
        VirtualMachine machine = accept(connector, arguments);
        runTo(machine, moment);
        isHalted = true;
        return new Halted(process, machine);
      } finally {
        if (!isHalted) {
          process.destroyForcibly();
        }
        connector.stopListening(arguments);
      }
    } catch (IllegalConnectorArgumentsException e) {
      throw new IllegalStateException(e);
    }
  }

  private VirtualMachine accept(
      ListeningConnector connector, Map<String, Connector.Argument> arguments)
      throws IllegalConnectorArgumentsException {
    try {
      return connector.accept(arguments);
    } catch (IOException e) {
      throw new AssertionError("began no run: " + output(), e);
    }
  }

  /** Returns with the run's thread halted. */
  private void runTo(VirtualMachine machine, Moment moment)
      throws IOException, InterruptedException {
    try {
      for (Halt halt : HALTS) {
        ClassPrepareRequest loaded = machine.eventRequestManager().createClassPrepareRequest();
        loaded.addClassFilter(halt.type());
        loaded.putProperty(METHOD, halt.method());
        loaded.setSuspendPolicy(EventRequest.SUSPEND_EVENT_THREAD);
        loaded.enable();
      }
      while (true) {
        EventSet events = machine.eventQueue().remove();
        for (Event event : events) {
          if (event instanceof ClassPrepareEvent loaded) {
            haltIn(machine, loaded);
          } else if (event instanceof BreakpointEvent && moment.reached()) {
            return;
          }
        }
        events.resume();
      }
    } catch (VMDisconnectedException e) {
      throw new AssertionError("ended before its moment: " + output(), e);
    }
  }

  private static void haltIn(VirtualMachine machine, ClassPrepareEvent loaded) {
    String name = (String) loaded.request().getProperty(METHOD);
    for (Method method : loaded.referenceType().methodsByName(name)) {
      BreakpointRequest halt =
          machine.eventRequestManager().createBreakpointRequest(method.location());
      halt.setSuspendPolicy(EventRequest.SUSPEND_EVENT_THREAD);
      halt.enable();
    }
  }

  /** Where a checkpoint grows, or vanishes. */
  static Path unfinished(Path output, int step) {
    return output.resolve(UNFINISHED + "checkpoint-" + step);
  }

  /** Whether all of a checkpoint is written, and it has not yet got its name. */
  static boolean isUnnamed(Path output, int step) {
    return Files.exists(unfinished(output, step).resolve("trainer_progress.json"));
  }

  /** Whether of the optimizer's numbers of a checkpoint some are written. */
  static boolean isOptimizerTorn(Path output, int step) throws IOException {
    Path file = unfinished(output, step).resolve(UNFINISHED + "optimizer.safetensors");
    if (!Files.exists(file)) {
      return false;
    }
    try (var channel = FileChannel.open(file)) {
      ByteBuffer length = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      channel.read(length);
      // Halted before a part of it, so that there is more to come.
      return !length.hasRemaining() && channel.size() > Long.BYTES + length.flip().getLong();
    }
  }

  /** Whether of an old checkpoint some files are deleted, and there is a newer one. */
  static boolean isHalfDeleted(Path output, int old, int newer) throws IOException {
    Path folder = unfinished(output, old);
    Path whole = output.resolve("checkpoint-" + newer);
    if (!Files.exists(folder) || !Files.exists(whole)) {
      return false;
    }
    try (var left = Files.list(folder);
        var all = Files.list(whole)) {
      return left.count() < all.count();
    }
  }

  /** Takes off the end of the last row, as a power cut may. */
  static void tearLastRow(Path output) throws IOException {
    try (var channel =
        FileChannel.open(output.resolve("metrics.jsonl"), StandardOpenOption.WRITE)) {
      channel.truncate(channel.size() - 5);
    }
  }

  static long metricRows(Path output) throws IOException {
    Path file = output.resolve("metrics.jsonl");
    if (!Files.exists(file)) {
      return 0;
    }
    try (var lines = Files.lines(file)) {
      return lines.count();
    }
  }
}
