package org.rlhf4j.core.train;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
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
import org.rlhf4j.core.checkpoint.SaveFormat;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.EvalStrategy;
import org.rlhf4j.core.config.LoraConfig;
import org.rlhf4j.core.config.SaveStrategy;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.DataReport;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.LoraSpec;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.report.Curves;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.report.MetricsLog;
import org.rlhf4j.core.report.Sample;
import org.rlhf4j.core.report.SampleLog;
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
  private final TrainingPosition resumed;
  private final Compute compute;
  private final ModelFolder start;
  private final Tokenizer tokenizer;
  private final RunRows rows;
  private final long startedNanos = System.nanoTime();
  private final StoredType savedType;
  private final BestModel best;

  private Job job;
  private RunDocuments documents;
  private MethodState methodState = Map::of;
  private RunMetrics metrics;
  private long step;
  private long lastSaved = -1;
  private boolean evaluationPending;
  private final Map<String, Object> dataCounts = new LinkedHashMap<>();

  private TrainingRun(String method, Record config, TrainingConfig training, RunContext context) {
    this.method = method;
    this.config = config;
    this.training = training;
    this.context = context;
    RunFolder.Opened opened = RunFolder.open(config, training, context.console());
    this.folder = opened.folder();
    this.best = new BestModel(folder.path());
    this.checkpoint = opened.checkpoint();
    Tokenizer loaded = null;
    boolean complete = false;
    try {
      this.resumed = checkpoint == null ? null : TrainingPosition.read(checkpoint);
      if (resumed != null) {
        RunFolder.requireSameConfig(config, checkpoint.resolve(RunFolder.CONFIG_FILE));
        resumed.requireMethod(method, checkpoint);
      }
      this.start =
          ModelFolder.open(checkpoint == null ? Path.of(training.modelNameOrPath()) : checkpoint);
      this.savedType = savedType();
      Path texts = start.tokenizerPath();
      loaded = Tokenizer.existsIn(texts) ? Tokenizer.load(texts) : null;
      this.tokenizer = loaded;
      this.rows = new RunRows(training, loaded, context.console()::warn);
      this.compute =
          resumed == null
              ? Compute.open(training.device(), training.dtype())
              : Compute.again(training.device(), resumed.numerics(), context.console());
      complete = true;
    } finally {
      if (!complete) {
        if (loaded != null) {
          loaded.close();
        }
        folder.close();
      }
    }
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

  /** Where it computes. */
  public Torch torch() {
    return compute.torch();
  }

  /** How to load a model that this run trains. */
  public ModelLoader.Options trainable() {
    return new ModelLoader.Options(compute.type(), true, adapter(training), training.seed());
  }

  /** The adapter that is trained, null for a run that trains all weights. */
  static LoraSpec adapter(TrainingConfig training) {
    LoraConfig lora = training.lora();
    return lora.usePeft()
        ? new LoraSpec(
            lora.loraR(),
            lora.loraAlpha(),
            lora.loraDropout(),
            lora.loraTargetModules(),
            lora.useRslora(),
            lora.modulesToSave())
        : null;
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
    return rows.encoder(spec);
  }

  /**
   * The most tokens of a row: max_length, or the model's context where that is less, which is said
   * on the console.
   */
  public int longestRow(DecoderSpec spec) {
    return rows.longest(spec);
  }

  /**
   * Encodes prompts as the run's keys say; they may be so long that a response has room.
   *
   * @throws RlhfException where the model's context has no room for a prompt
   */
  public RowEncoder promptEncoder(DecoderSpec spec, int maxNewTokens) {
    return rows.promptEncoder(spec, maxNewTokens);
  }

  /**
   * Runs a step; where its numbers are not finite, its rows are saved before the run ends.
   *
   * @param rows of the step, each as a line of JSON that can be read as a row of token ids
   */
  public <T> T guarded(Supplier<List<String>> rows, Supplier<T> body) {
    try {
      return body.get();
    } catch (RlhfException e) {
      if (e.exitCode() != ExitCode.NON_FINITE) {
        throw e;
      }
      Path file = folder.path().resolve("non-finite-step-" + (step + 1) + ".jsonl");
      String lines = String.join("\n", rows.get()) + "\n";
      AtomicFiles.write(file, lines.getBytes(StandardCharsets.UTF_8));
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
        + (torch().threads() == 1 ? " thread, PyTorch " : " threads, PyTorch ")
        + torch().pytorchVersion();
  }

  /** The model as it was named. */
  String modelName() {
    return training.modelNameOrPath();
  }

  /** How weights are saved. */
  public SaveFormat savedAs() {
    return new SaveFormat(savedType, training.maxShardSize().bytes());
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
   * @param trainRows rows read, by file
   * @param evalRows rows read, by file
   */
  public record DataUsed(
      String trainHash,
      String evalHash,
      Map<Path, Integer> trainRows,
      Map<Path, Integer> evalRows) {
    /**
     * Of data sets.
     *
     * @param held the evaluation rows, or null
     */
    public static DataUsed of(EncodedDataset<?> train, EncodedDataset<?> held) {
      return new DataUsed(
          train.dataHash(),
          held == null ? "" : held.dataHash(),
          train.report().rowsByFile(),
          held == null ? Map.of() : held.report().rowsByFile());
    }
  }

  /**
   * Begins, or continues: restores the state of the checkpoint, opens the metrics and writes what
   * is known so far.
   *
   * @throws org.rlhf4j.core.RlhfException if the data is not what the run was started with
   */
  public void begin(Job job) {
    this.job = job;
    documents =
        new RunDocuments(
            new RunDocuments.Facts(
                method,
                config,
                training,
                context.command(),
                folder.path(),
                resumed,
                compute,
                tokenizer != null),
            job);
    if (resumed == null) {
      folder.clear();
    } else {
      restore();
    }
    AtomicFiles.write(folder.path().resolve(RunFolder.CONFIG_FILE), yaml());
    metrics =
        RunMetrics.open(
            folder.path(), resumed, training.reportTo(), context.listener(), startedNanos);
    metrics.addToFirstRow(dataCounts);
    documents.writeProvenance();
  }

  private void restore() {
    requireSameData(resumed.trainDataHash(), job.data().trainHash());
    folder.dropAfter(resumed.step());
    job.optimization()
        .restore(
            SafetensorsFile.open(checkpoint.resolve(RunFolder.OPTIMIZER_FILE)), resumed.step());
    step = resumed.step();
    evaluationPending =
        resumed.evaluationPending() && training.effectiveEvalStrategy() != EvalStrategy.NO;
    // With its evaluation, the checkpoint of this step is another one.
    lastSaved = evaluationPending ? -1 : step;
    // With other evaluation rows, the search for the best starts anew.
    if (resumed.evalDataHash().equals(job.data().evalHash())) {
      best.resume(resumed.best(), console());
    }
  }

  private byte[] yaml() {
    return Config.toYaml(config).getBytes(StandardCharsets.UTF_8);
  }

  static void requireSameData(String before, String now) {
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

  /** How somebody asks to stop. */
  public StopSignal stop() {
    return context.stop();
  }

  /** Whether somebody asked to stop. */
  public boolean stopRequested() {
    return context.stop().requested();
  }

  /**
   * Counts a finished step, and writes a row of metrics where one is due.
   *
   * @param update what the optimizer did
   * @param loss of the step
   * @param stepTokens tokens that were computed
   * @param epoch passes over the data after the step
   * @param figures further ones, the same for every step; a row has the means over its steps
   */
  public void finishStep(
      Optimization.Update update,
      double loss,
      long stepTokens,
      double epoch,
      Map<String, ? extends Number> figures) {
    step++;
    metrics.window().add(update, loss, stepTokens, epoch, figures);
    if (step % training.loggingSteps() == 0 || step == job.totalSteps()) {
      metrics.writeWindow(step);
    }
  }

  /** Writes a row of metrics beside the training rows; the step and the clock are added. */
  public void write(Map<String, ?> values) {
    metrics.write(step, values);
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
   * Whether to evaluate before any further step: at the start of a run, and where the evaluation
   * after the checkpoint's step was broken off.
   *
   * @param stepsPerEpoch for evaluation by epochs
   */
  public boolean evaluatesFirst(long stepsPerEpoch) {
    return resumed == null ? evaluates(stepsPerEpoch) : evaluationPending;
  }

  /**
   * Runs what is no part of the training, as an evaluation: the clocks of progress bars and of
   * {@link MetricNames#TOKENS_PER_SECOND} stand still meanwhile.
   */
  public <T> T aside(Supplier<T> body) {
    return console().aside(() -> metrics.window().aside(body));
  }

  /**
   * Runs an evaluation, which may break off with {@link StopSignal.Stopped}: the checkpoint that
   * follows says so, and the run goes on with the evaluation.
   */
  public void evaluation(Runnable body) {
    evaluationPending = true;
    try {
      aside(
          () -> {
            body.run();
            return null;
          });
      evaluationPending = false;
    } catch (StopSignal.Stopped e) {
      console().line("the evaluation after step " + step + " was broken off");
    }
  }

  /**
   * Writes the figures of an evaluation, and keeps the model where it is the best so far.
   *
   * @param score what save_best looks at
   * @throws org.rlhf4j.core.RlhfException if a figure is not finite; then nothing is written
   */
  public void evaluated(Map<String, ?> figures, Score score) {
    figures.forEach(
        (name, value) -> {
          if (value instanceof Double number && !Double.isFinite(number)) {
            throw RlhfException.nonFinite(
                "the evaluation after step %d found %s %s; no row of it is in %s"
                    .formatted(step, name, number, folder.path().resolve(MetricsLog.FILE_NAME)));
          }
        });
    write(figures);
    if (training.saveBest()) {
      BestModel.Found found = new BestModel.Found(step, score.value());
      best.offer(found, score.moreIsBetter(), job.saver());
    }
  }

  /** The figure of an evaluation by which the best model is known. */
  public record Score(double value, boolean moreIsBetter) {
    /** A loss: less is better. */
    public static Score loss(double value) {
      return new Score(value, false);
    }

    /** A reward: more is better. */
    public static Score reward(double value) {
      return new Score(value, true);
    }
  }

  /** Stores samples under the last finished step, and shows them where the run ends with it. */
  public void samples(String title, List<Sample> samples) {
    SampleLog.write(folder.path(), step, samples);
    if (step == job.totalSteps()) {
      console().samples(title, samples);
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

  /** Whether there is a checkpoint of the last finished step. */
  public boolean isSaved() {
    return step == lastSaved;
  }

  /** Writes a checkpoint. */
  public void save(double epoch) {
    aside(
        () -> {
          writeCheckpoint(epoch);
          return null;
        });
  }

  private void writeCheckpoint(double epoch) {
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
      position(epoch).write(written.path());
      written.commit();
    }
    lastSaved = step;
    folder.rotate(training.saveTotalLimit());
    if (context.stop().requested()) {
      console()
          .line(
              "%s saved; resume_from_checkpoint auto goes on from it"
                  .formatted(folder.checkpoint(step).getFileName()));
    }
  }

  private TrainingPosition position(double epoch) {
    return new TrainingPosition(
        method,
        step,
        epoch,
        job.data().trainHash(),
        job.data().evalHash(),
        metrics.window().state(),
        new TrainingPosition.Numerics(
            torch().deviceName(),
            compute.dtypeName(),
            compute.reason(),
            torch().threads(),
            torch().products(),
            (resumed == null ? start.storedType().name() : resumed.numerics().savedType())),
        best.found(),
        evaluationPending,
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
        metrics.window().state().tokens(),
        best.found() == null ? null : best.found().score(),
        best.found() == null ? null : BestModel.FOLDER,
        metrics.history());
  }

  /**
   * Writes the final model and what belongs to it at the top of the folder, and a last row of
   * metrics where the run ended between two.
   */
  public void finish() {
    if (!metrics.window().isEmpty()) {
      metrics.writeWindow(step);
    }
    BestModel.Found kept = training.saveBest() ? best.found() : null;
    if (kept != null) {
      best.copyTo(folder.path());
    } else {
      job.saver().write(folder.path());
    }
    Curves.write(folder.path(), method, metrics.rows(), context.console());
    long modelStep = kept == null ? step : kept.step();
    documents.writeFinal(step, modelStep, metrics.rows());
    metrics.sync();
    console().line("model of step " + Format.count(modelStep) + " in " + folder.path());
  }

  /** The rows of metrics so far. */
  public List<Map<String, Object>> metricRows() {
    return metrics.rows();
  }

  @Override
  public void close() {
    if (metrics != null) {
      metrics.close();
    }
    if (tokenizer != null) {
      tokenizer.close();
    }
    compute.close();
    folder.close();
  }
}
