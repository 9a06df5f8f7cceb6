package org.rlhf4j.core.train;

import ai.djl.engine.Engine;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.model.Decoder;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.ModelCard;
import org.rlhf4j.core.report.Provenance;

/** {@code provenance.json} and {@code README.md} of a run. */
final class RunDocuments {
  private final Facts facts;
  private final TrainingRun.Job job;
  private final Instant started = Instant.now();
  private final Map<Path, String> hashes = new HashMap<>();
  private Provenance.Model startModel;

  /**
   * What is known of a run at its start.
   *
   * @param method the verb
   * @param config all keys; {@code training} is a part of it
   * @param command the command line, or empty
   * @param outputDir where the documents go
   * @param resumed the position of the checkpoint that is continued, or null
   * @param compute device and type, with the reason for the type
   * @param hasTokenizer whether the model's folder has one
   */
  record Facts(
      String method,
      Record config,
      TrainingConfig training,
      List<String> command,
      Path outputDir,
      TrainingPosition resumed,
      Compute compute,
      boolean hasTokenizer) {}

  RunDocuments(Facts facts, TrainingRun.Job job) {
    this.facts = facts;
    this.job = job;
  }

  /** Writes what is known while the run is under way. */
  void writeProvenance() {
    provenance(null, null).write(facts.outputDir());
  }

  /**
   * Writes both for a run that is done.
   *
   * @param step its last
   * @param modelStep the step that the final model is of
   * @param metrics its rows of metrics
   */
  void writeFinal(long step, long modelStep, List<Map<String, Object>> metrics) {
    provenance(Instant.now(), step).write(facts.outputDir());
    Map<String, Object> last = new LinkedHashMap<>();
    for (Map<String, Object> row : metrics) {
      if (((Number) row.get(MetricNames.STEP)).longValue() > modelStep) {
        continue;
      }
      row.forEach(
          (name, value) -> {
            if (!MetricNames.isWallClock(name)) {
              last.put(name, value);
            }
          });
    }
    new ModelCard(
            facts.outputDir().getFileName().toString(),
            facts.training().outputDir().toString(),
            facts.method(),
            Provenance.libraryVersion(),
            facts.training().modelNameOrPath(),
            job.reward(),
            facts.training().lora().usePeft(),
            facts.hasTokenizer(),
            dataFiles(),
            Config.toMap(facts.config()),
            last,
            modelStep)
        .write(facts.outputDir());
  }

  private Provenance provenance(Instant finished, Long toStep) {
    List<Provenance.Session> sessions = new ArrayList<>();
    TrainingPosition resumed = facts.resumed();
    if (resumed != null && hasProvenance()) {
      sessions.addAll(Provenance.read(facts.outputDir()).sessions());
      sessions.removeIf(session -> session.started().equals(started));
    }
    long from = resumed == null ? 0 : resumed.step();
    sessions.add(new Provenance.Session(started, finished, from, toStep));
    return new Provenance(
        facts.method(),
        versions(),
        facts.command().isEmpty() ? null : facts.command(),
        Config.toMap(facts.config()),
        dataFiles(),
        startModel(),
        numerics(),
        sessions);
  }

  /** As the run was first started: its folder may be gone when the run goes on. */
  private Provenance.Model startModel() {
    if (startModel == null && facts.resumed() != null && hasProvenance()) {
      startModel = Provenance.read(facts.outputDir()).startModel();
    } else if (startModel == null) {
      String base = facts.training().modelNameOrPath();
      Path folder = Path.of(base);
      startModel =
          new Provenance.Model(
              base, Files.isDirectory(folder) ? Provenance.weightsSha256(folder) : null);
    }
    return startModel;
  }

  private boolean hasProvenance() {
    return Files.exists(facts.outputDir().resolve(Provenance.FILE_NAME));
  }

  private Map<String, String> versions() {
    Map<String, String> versions = new LinkedHashMap<>();
    versions.put("rlhf4j", Provenance.libraryVersion());
    versions.put("git", Provenance.gitCommit());
    versions.put("djl", Engine.getDjlVersion());
    versions.put("pytorch", facts.compute().torch().pytorchVersion());
    return versions;
  }

  private Provenance.Numerics numerics() {
    Compute compute = facts.compute();
    Map<String, String> kernels = new LinkedHashMap<>();
    kernels.put("dtype", compute.reason());
    kernels.put("products", compute.torch().products().name().toLowerCase(Locale.ROOT));
    kernels.put(
        "activation_checkpointing",
        facts.training().activationCheckpointing() ? "per block" : "none");
    kernels.put("attention_query_block", Integer.toString(Decoder.QUERY_BLOCK));
    return new Provenance.Numerics(
        compute.torch().deviceName(),
        compute.dtypeName(),
        compute.torch().threads(),
        facts.training().seed(),
        kernels);
  }

  private List<Provenance.DataFile> dataFiles() {
    List<Provenance.DataFile> files = new ArrayList<>();
    job.data().trainRows().forEach((path, rows) -> files.add(dataFile("train", path, rows)));
    job.data().evalRows().forEach((path, rows) -> files.add(dataFile("eval", path, rows)));
    return files;
  }

  private Provenance.DataFile dataFile(String role, Path path, long rows) {
    return new Provenance.DataFile(role, path.toString(), sha256(path), rows);
  }

  /** Files are hashed once a run: a large model takes seconds. */
  private String sha256(Path file) {
    return hashes.computeIfAbsent(file, Provenance::sha256);
  }
}
