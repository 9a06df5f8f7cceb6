package org.rlhf4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.jdi.Bootstrap;
import com.sun.jdi.Method;
import com.sun.jdi.ReferenceType;
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
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.rlhf4j.core.ExitCode;
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
  /** What the names of files begin with that are still being written. */
  static final String UNFINISHED = ".rlhf4j-partial-";

  /** Methods before which a run is halted, to see whether its moment has come. */
  private static final Map<String, String> HALTS =
      Map.of(
          AtomicFolder.class.getName(), "commit",
          MetricsLog.class.getName(), "append",
          Generator.class.getName(), "generate",
          ModelReward.class.getName(), "rewards");

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
    assertEquals(0, start(List.of(), words).waitFor(), () -> output());
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
    run.process().destroy();
    while (!output().contains("Stopping: ")) {
      assertTrue(run.process().isAlive(), () -> output());
      TimeUnit.MILLISECONDS.sleep(10);
    }
    run.machine().dispose();
    assertEquals(TERMINATED, run.process().waitFor(), () -> output());
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
      VirtualMachine machine = connector.accept(arguments);
      connector.stopListening(arguments);
      for (String name : HALTS.keySet()) {
        ClassPrepareRequest loaded = machine.eventRequestManager().createClassPrepareRequest();
        loaded.addClassFilter(name);
        loaded.setSuspendPolicy(EventRequest.SUSPEND_EVENT_THREAD);
        loaded.enable();
      }
      runTo(machine, moment);
      return new Halted(process, machine);
    } catch (IllegalConnectorArgumentsException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Returns with the run's thread halted. */
  private void runTo(VirtualMachine machine, Moment moment)
      throws IOException, InterruptedException {
    try {
      while (true) {
        EventSet events = machine.eventQueue().remove();
        for (Event event : events) {
          if (event instanceof ClassPrepareEvent loaded) {
            haltIn(machine, loaded.referenceType());
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

  private static void haltIn(VirtualMachine machine, ReferenceType type) {
    for (Method method : type.methodsByName(HALTS.get(type.name()))) {
      BreakpointRequest halt =
          machine.eventRequestManager().createBreakpointRequest(method.location());
      halt.setSuspendPolicy(EventRequest.SUSPEND_EVENT_THREAD);
      halt.enable();
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
