package org.rlhf4j.core.train;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.checkpoint.AtomicFolder;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.checkpoint.SafetensorsWriter;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.config.EvalStrategy;
import org.rlhf4j.core.config.ReportTo;
import org.rlhf4j.core.config.SaveStrategy;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.DataReport;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Curves;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.MetricsLog;
import org.rlhf4j.core.report.ModelCard;
import org.rlhf4j.core.report.Provenance;
import org.rlhf4j.core.report.SystemStats;
import org.rlhf4j.core.report.TensorBoardLog;
import org.rlhf4j.core.report.TrainerState;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/**
 * The bookkeeping of a training run, which is the same for every method: its folder, the model that
 * it starts from, metrics, checkpoints, resuming and the final files. What is trained, and how, is
 * the trainer's.
 */
public final class TrainingRun implements AutoCloseable {
  private final String method;
  private final Record config;
  private final TrainingConfig training;
  private final RunContext context;
  private final RunFolder folder;
  private final Path checkpoint;
  private final Progress resumed;
  private final Compute compute;
  private final ModelFolder start;
  private final Tokenizer tokenizer;
  private final StoredType savedType;
  private final Instant started = Instant.now();
  private final long startedNanos = System.nanoTime();

  private Job job;
  private MethodState methodState = Map::of;
  private MetricsLog metrics;
  private TensorBoardLog tensorBoard;
  private long step;
  private long lastSaved = -1;
  private double lossSum;
  private long lossSteps;
  private long tokens;
  private long tokensOfWindow;
  private long windowNanos;
  private Double bestMetric;
  private boolean contextNamed;
  private final Map<String, Object> dataCounts = new LinkedHashMap<>();
  private final Map<Path, String> hashes = new HashMap<>();

  private TrainingRun(String method, Record config, TrainingConfig training, RunContext context) {
    this.method = method;
    this.config = config;
    this.training = training;
    this.context = context;
    RunFolder.Opened opened = RunFolder.open(config, training);
    this.folder = opened.folder();
    this.checkpoint = opened.checkpoint();
    this.resumed = checkpoint == null ? null : Progress.read(checkpoint);
    if (resumed != null) {
      RunFolder.requireSameConfig(config, checkpoint.resolve(RunFolder.CONFIG_FILE));
    }
    this.start =
        ModelFolder.open(checkpoint == null ? Path.of(training.modelNameOrPath()) : checkpoint);
    this.savedType = savedType();
    this.tokenizer = Tokenizer.existsIn(start.path()) ? Tokenizer.load(start.path()) : null;
    this.compute = openCompute();
  }

  /**
   * Opens the folder of a run, new or to be continued, and the device.
   *
   * @param method the verb
   * @param config all keys of the run; {@code training} is a part of it
   * @return closed by the caller, after the model
   * @throws org.rlhf4j.core.RlhfException if the folder belongs to another run, cannot be written,
   *     or was started with other settings
   */
  public static TrainingRun open(
      String method, Record config, TrainingConfig training, RunContext context) {
    return new TrainingRun(method, config, training, context);
  }

  private StoredType savedType() {
    return switch (training.saveDtype()) {
      case FP32 -> StoredType.F32;
      case BF16 -> StoredType.BF16;
      case SOURCE ->
          resumed == null ? start.storedType() : StoredType.valueOf(resumed.numerics().savedType());
    };
  }

  private Compute openCompute() {
    if (resumed == null) {
      return Compute.open(training.device(), training.dtype());
    }
    DtypeChoice before =
        resumed.numerics().dtype().equals("bf16") ? DtypeChoice.BF16 : DtypeChoice.FP32;
    Compute opened = Compute.open(training.device(), before);
    opened.torch().setThreads(resumed.numerics().threads());
    return opened;
  }

  /** Where it computes. */
  public Torch torch() {
    return compute.torch();
  }

  /** How to load a model that this run trains. */
  public ModelLoader.Options trainable() {
    return new ModelLoader.Options(compute.type(), true);
  }

  /** The type that is computed in. */
  public ElementType computeType() {
    return compute.type();
  }

  /** The folder of the model to start from: the configured one, or the checkpoint's. */
  public ModelFolder start() {
    return start;
  }

  /** The model's tokenizer, null where its folder has none. */
  public Tokenizer tokenizer() {
    return tokenizer;
  }

  /** Encodes rows as the run's keys say; prompts are no targets. */
  public RowEncoder encoder(DecoderSpec spec) {
    return new RowEncoder(
        tokenizer,
        spec.vocabularySize(),
        new RowEncoder.Options(
            training.template(),
            longestRow(spec),
            training.overlong(),
            training.appendEos(),
            true));
  }

  /**
   * The most tokens of a row: max_length, or the model's context where that is less, which is said
   * on the console.
   */
  public int longestRow(DecoderSpec spec) {
    if (training.maxLength() <= spec.maxPositions()) {
      return training.maxLength();
    }
    if (!contextNamed) {
      contextNamed = true;
      console()
          .warn(
              "max_length "
                  + training.maxLength()
                  + " is more than the model's context, max_position_embeddings "
                  + spec.maxPositions()
                  + "; rows are limited to that");
    }
    return spec.maxPositions();
  }

  /**
   * Runs a step; where its numbers are not finite, its rows are saved before the run ends.
   *
   * @param rows the token ids of the step
   */
  public <T> T guarded(Supplier<List<int[]>> rows, Supplier<T> body) {
    try {
      return body.get();
    } catch (RlhfException e) {
      if (e.exitCode() != ExitCode.NON_FINITE) {
        throw e;
      }
      StringBuilder lines = new StringBuilder();
      for (int[] ids : rows.get()) {
        lines.append("{\"input_ids\": ").append(Arrays.toString(ids)).append("}\n");
      }
      Path file = folder.path().resolve("non-finite-step-" + (step + 1) + ".jsonl");
      AtomicFiles.write(file, lines.toString().getBytes(StandardCharsets.UTF_8));
      throw RlhfException.nonFinite(
          e.getMessage() + "; nothing was changed by it, its rows are in " + file);
    }
  }

  /** Where everything is written. */
  public Path outputDir() {
    return folder.path();
  }

  /** The device and type in words, for the banner. */
  String computeLine() {
    return torch().deviceName()
        + ", "
        + compute.dtypeName()
        + ", "
        + torch().threads()
        + " threads, PyTorch "
        + torch().pytorchVersion();
  }

  /** The model as it was named. */
  String modelName() {
    return training.modelNameOrPath();
  }

  /** The type that weights are saved in. */
  public StoredType savedAs() {
    return savedType;
  }

  /** The console. */
  public Console console() {
    return context.console();
  }

  /** Writes the model as a Hugging Face folder. */
  @FunctionalInterface
  public interface ModelSaver {
    /** Writes into an existing folder. */
    void write(Path folder);
  }

  /**
   * What is trained.
   *
   * @param optimization holds the state that a checkpoint keeps
   * @param saver writes the model
   * @param totalSteps of the whole run
   * @param data the rows it trains and evaluates on
   * @param reward whether the model is a reward model, for its card
   */
  public record Job(
      Optimization optimization,
      ModelSaver saver,
      long totalSteps,
      DataUsed data,
      boolean reward) {}

  /**
   * The data of a run.
   *
   * @param trainHash of the training rows
   * @param evalHash of the evaluation rows, empty without
   * @param trainRows rows read
   * @param evalRows rows read
   */
  public record DataUsed(String trainHash, String evalHash, long trainRows, long evalRows) {}

  /**
   * Begins, or continues: restores the state of the checkpoint, opens the metrics and writes what
   * is known so far.
   *
   * @throws org.rlhf4j.core.RlhfException if the data is not what the run was started with
   */
  public void begin(Job job) {
    this.job = job;
    if (resumed == null) {
      folder.clear();
    } else {
      requireSameData(resumed.trainDataHash(), job.data().trainHash());
      folder.dropAfter(resumed.step());
      job.optimization()
          .restore(
              SafetensorsFile.open(checkpoint.resolve(RunFolder.OPTIMIZER_FILE)), resumed.step());
      step = resumed.step();
      lastSaved = step;
      lossSum = resumed.window().lossSum();
      lossSteps = resumed.window().steps();
      tokens = resumed.window().tokens();
      // In another folder, or with other evaluation rows, the search for the best starts anew.
      boolean comparable = resumed.evalDataHash().equals(job.data().evalHash());
      bestMetric = comparable && Files.exists(bestFolder()) ? resumed.bestMetric() : null;
    }
    AtomicFiles.write(folder.path().resolve(RunFolder.CONFIG_FILE), yaml());
    metrics =
        MetricsLog.resume(
            folder.path().resolve(MetricsLog.FILE_NAME),
            step,
            resumed == null ? 0 : resumed.metricRows());
    if (training.reportTo() == ReportTo.TENSORBOARD) {
      tensorBoard = TensorBoardLog.open(folder.path().resolve(TensorBoardLog.FOLDER), step + 1);
    }
    provenance(null, null).write(folder.path());
    windowNanos = System.nanoTime();
  }

  private byte[] yaml() {
    return Config.toYaml(config).getBytes(StandardCharsets.UTF_8);
  }

  private static void requireSameData(String before, String now) {
    if (!before.equals(now)) {
      throw RlhfException.config(
          "dataset_path: the rows are not those that the run was started with (hash "
              + before
              + " then, "
              + now
              + " now); a run can only be continued on the same data");
    }
  }

  /** From now on, checkpoints hold this too. */
  public void keep(MethodState state) {
    this.methodState = state;
  }

  /** What {@link MethodState#values} said in the checkpoint that is continued; else empty. */
  public Map<String, Object> kept() {
    return resumed == null ? Map.of() : resumed.methodState();
  }

  /** The checkpoint that is continued; null for a new run. */
  public Path checkpoint() {
    return checkpoint;
  }

  /** Adds what became of the rows of the training data to the first training row of metrics. */
  public void reportData(DataReport report) {
    dataCounts.put(MetricNames.DATA_KEPT, report.rowsKept());
    dataCounts.put(MetricNames.DATA_DROPPED, report.rowsDropped());
    dataCounts.put(MetricNames.DATA_TRUNCATED, report.truncated());
    dataCounts.put(MetricNames.DATA_PREFIX_MISMATCH, report.prefixMismatchCount());
  }

  /** Finished optimizer steps. */
  public long step() {
    return step;
  }

  /** Whether steps are left and nobody asked to stop. */
  public boolean goesOn() {
    return step < job.totalSteps() && !context.stop().requested();
  }

  /** Whether somebody asked to stop. */
  public boolean stopRequested() {
    return context.stop().requested();
  }

  /** Whether the step that is about to run will be the last before a row of metrics. */
  public boolean nextIsLogged() {
    return (step + 1) % training.loggingSteps() == 0 || step + 1 == job.totalSteps();
  }

  /**
   * Counts a finished step, and writes a row of metrics where one is due.
   *
   * @param update what the optimizer did
   * @param loss of the step
   * @param stepTokens tokens that were computed
   * @param epoch passes over the data after the step
   * @param more further metrics of the row
   */
  public void finishStep(
      Optimization.Update update, double loss, long stepTokens, double epoch, Map<String, ?> more) {
    boolean logged = nextIsLogged();
    step++;
    lossSum += loss;
    lossSteps++;
    tokens += stepTokens;
    tokensOfWindow += stepTokens;
    if (logged) {
      Map<String, Object> row = new LinkedHashMap<>();
      row.put(MetricNames.STEP, step);
      row.put(MetricNames.EPOCH, epoch);
      row.put(MetricNames.LOSS, lossSum / lossSteps);
      row.put(MetricNames.GRAD_NORM, update.gradientNorm());
      row.put(MetricNames.LEARNING_RATE, update.learningRate());
      row.putAll(more);
      if (metrics.rows().stream().noneMatch(before -> before.containsKey(MetricNames.LOSS))) {
        row.putAll(dataCounts);
      }
      row.put(MetricNames.NUM_TOKENS, tokens);
      double seconds = (System.nanoTime() - windowNanos) / 1e9;
      row.put(MetricNames.TOKENS_PER_SECOND, tokensOfWindow / seconds);
      write(row);
      lossSum = 0;
      lossSteps = 0;
      tokensOfWindow = 0;
      windowNanos = System.nanoTime();
    }
  }

  /** Writes a row of metrics beside the training rows; the step and the clock are added. */
  public void write(Map<String, ?> values) {
    Map<String, Object> row = new LinkedHashMap<>();
    row.put(MetricNames.STEP, step);
    row.putAll(values);
    row.put(MetricNames.ELAPSED_S, (System.nanoTime() - startedNanos) / 1e9);
    row.putAll(SystemStats.now().metrics());
    metrics.append(row);
    if (tensorBoard != null) {
      tensorBoard.append(row);
    }
    context.listener().metrics(row);
  }

  /**
   * Whether to evaluate now, after the last finished step.
   *
   * @param stepsPerEpoch for evaluation by epochs
   */
  public boolean evaluates(long stepsPerEpoch) {
    EvalStrategy strategy = training.effectiveEvalStrategy();
    boolean atEnd = step == job.totalSteps();
    return switch (strategy) {
      case STEPS -> step % training.evalSteps() == 0 || atEnd;
      case EPOCH -> step % stepsPerEpoch == 0 || atEnd;
      case NO, AUTO -> false;
    };
  }

  /**
   * Writes the figures of an evaluation, and keeps the model where it is the best so far.
   *
   * @param score the figure that save_best looks at; less is better
   */
  public void evaluated(Map<String, ?> figures, double score) {
    write(figures);
    if (training.saveBest() && (bestMetric == null || score < bestMetric)) {
      bestMetric = score;
      try (AtomicFolder best = AtomicFolder.create(bestFolder())) {
        job.saver().write(best.path());
        best.commit();
      }
    }
  }

  /**
   * Writes a checkpoint where one is due, or because somebody asked to stop.
   *
   * @param epoch passes over the data so far
   * @param stepsPerEpoch for saving by epochs
   */
  public void saveIfDue(double epoch, long stepsPerEpoch) {
    boolean due =
        switch (training.saveStrategy()) {
          case STEPS -> step % training.saveSteps() == 0 || step == job.totalSteps();
          case EPOCH -> step % stepsPerEpoch == 0 || step == job.totalSteps();
          case NO -> false;
        };
    if ((due || context.stop().requested()) && step != lastSaved) {
      save(epoch);
    }
  }

  /** Writes a checkpoint. */
  public void save(double epoch) {
    metrics.sync();
    try (AtomicFolder written = AtomicFolder.create(folder.checkpoint(step));
        TensorScope scope = torch().scope()) {
      job.saver().write(written.path());
      SafetensorsWriter.write(
          written.path().resolve(RunFolder.OPTIMIZER_FILE),
          job.optimization().sources(scope),
          SafetensorsWriter.PYTORCH_METADATA);
      AtomicFiles.write(written.path().resolve(RunFolder.CONFIG_FILE), yaml());
      trainerState(epoch).write(written.path());
      methodState.writeFiles(written.path());
      progress(epoch).write(written.path());
      written.commit();
    }
    lastSaved = step;
    folder.rotate(training.saveTotalLimit());
  }

  private Progress progress(double epoch) {
    return new Progress(
        method,
        step,
        epoch,
        job.data().trainHash(),
        job.data().evalHash(),
        new Progress.Window(lossSum, lossSteps, tokens),
        new Progress.Numerics(
            compute.dtypeName(),
            torch().threads(),
            (resumed == null ? start.storedType().name() : resumed.numerics().savedType())),
        bestMetric,
        metrics.rows().size(),
        methodState.values());
  }

  private TrainerState trainerState(double epoch) {
    return new TrainerState(
        step,
        job.totalSteps(),
        epoch,
        training.numTrainEpochs(),
        training.perDeviceTrainBatchSize(),
        training.loggingSteps(),
        training.effectiveEvalStrategy() == EvalStrategy.STEPS ? training.evalSteps() : null,
        training.saveStrategy() == SaveStrategy.STEPS ? training.saveSteps() : null,
        bestMetric,
        bestMetric == null ? null : RunFolder.BEST_FOLDER,
        metrics.logHistory());
  }

  private Path bestFolder() {
    return folder.path().resolve(RunFolder.BEST_FOLDER);
  }

  /** Writes the final model and what belongs to it at the top of the folder. */
  public void finish() {
    if (training.saveBest() && bestMetric != null) {
      folder.bestToTop();
    } else {
      job.saver().write(folder.path());
    }
    Curves.write(folder.path(), method, metrics.rows(), context.console());
    provenance(Instant.now(), step).write(folder.path());
    card().write(folder.path());
    metrics.sync();
  }

  private ModelCard card() {
    Map<String, Object> last = new LinkedHashMap<>();
    for (Map<String, Object> row : metrics.rows()) {
      row.forEach(
          (name, value) -> {
            if (!MetricNames.isWallClock(name)) {
              last.put(name, value);
            }
          });
    }
    return new ModelCard(
        folder.path().getFileName().toString(),
        method,
        Provenance.libraryVersion(),
        training.modelNameOrPath(),
        job.reward(),
        tokenizer != null,
        dataFiles(),
        Config.toMap(config),
        last);
  }

  private List<Provenance.DataFile> dataFiles() {
    List<Provenance.DataFile> files = new ArrayList<>();
    for (Path path : training.datasetPath()) {
      files.add(dataFile("train", path, job.data().trainRows()));
    }
    for (Path path : training.evalDatasetPath()) {
      files.add(dataFile("eval", path, job.data().evalRows()));
    }
    return files;
  }

  private Provenance.DataFile dataFile(String role, Path path, long rows) {
    return new Provenance.DataFile(role, path.toString(), sha256(path), rows);
  }

  private Provenance provenance(Instant finished, Long toStep) {
    List<Provenance.Session> sessions = new ArrayList<>();
    if (resumed != null && Files.exists(folder.path().resolve(Provenance.FILE_NAME))) {
      sessions.addAll(Provenance.read(folder.path()).sessions());
      sessions.removeIf(session -> session.started().equals(started));
    }
    long from = resumed == null ? 0 : resumed.step();
    sessions.add(new Provenance.Session(started, finished, from, toStep));
    String base = training.modelNameOrPath();
    Path baseWeights = Path.of(base).resolve("model.safetensors");
    String baseHash = Files.exists(baseWeights) ? sha256(baseWeights) : null;
    Map<String, String> versions = new LinkedHashMap<>();
    versions.put("rlhf4j", Provenance.libraryVersion());
    versions.put("pytorch", torch().pytorchVersion());
    return new Provenance(
        method,
        versions,
        context.command().isEmpty() ? null : context.command(),
        Config.toMap(config),
        dataFiles(),
        new Provenance.Model(base, baseHash),
        new Provenance.Numerics(
            torch().deviceName(),
            compute.dtypeName(),
            torch().threads(),
            training.seed(),
            Map.of()),
        sessions);
  }

  /** Files are hashed once a run: a large model takes seconds. */
  private String sha256(Path file) {
    return hashes.computeIfAbsent(file, Provenance::sha256);
  }

  /** The rows of metrics so far. */
  public List<Map<String, Object>> metricRows() {
    return metrics.rows();
  }

  @Override
  public void close() {
    if (tensorBoard != null) {
      tensorBoard.close();
    }
    if (metrics != null) {
      metrics.close();
    }
    if (tokenizer != null) {
      tokenizer.close();
    }
    compute.close();
  }
}
