package org.rlhf4j.core.train;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.Supplier;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.EvalStrategy;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.LoraSpec;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.text.Tokenizer;

/**
 * What a run would find at its start: its folder, the model that it starts from, the tokenizer, its
 * rows. They are opened as {@link TrainingRun} opens them, but no weights are loaded and nothing is
 * written. What would stop the run becomes a problem of the {@link Checks}.
 */
public final class RunCheck implements AutoCloseable {
  private final TrainingConfig training;
  private final BiConsumer<ModelFolder, LoraSpec> reader;
  private final Checks checks;
  private final TrainingPosition resumed;
  private final ModelFolder start;
  private final ModelFamilies.Model model;
  private final Tokenizer tokenizer;
  private final boolean readsRows;
  private final RunRows rows;

  /**
   * Looks at the folders of a run.
   *
   * @param method the verb
   * @param config all keys of the run; {@code training} is a part of it
   * @param reader looks whether the model can be trained so, as {@link
   *     org.rlhf4j.core.model.ModelLoader#checkCausalLm} does
   * @param checks takes what is found
   */
  public RunCheck(
      String method,
      Record config,
      TrainingConfig training,
      BiConsumer<ModelFolder, LoraSpec> reader,
      Checks checks) {
    this.training = training;
    this.reader = reader;
    this.checks = checks;
    RunFolder.Look folder = checks.look(() -> RunFolder.look(config, training, checks::warn));
    Path checkpoint = folder == null ? null : folder.checkpoint();
    this.resumed = checkpoint == null ? null : checks.look(() -> TrainingPosition.read(checkpoint));
    if (checkpoint != null) {
      checks.require(
          () -> RunFolder.requireSameConfig(config, checkpoint.resolve(RunFolder.CONFIG_FILE)));
    }
    checks.device(training.device());
    if (resumed != null) {
      checks.require(() -> resumed.requireMethod(method, checkpoint));
      checks.device(resumed.numerics().device());
      checks.require(() -> Compute.requireThreads(resumed.numerics()));
    }
    Path named = checkpoint == null ? Path.of(training.modelNameOrPath()) : checkpoint;
    Checks.FoundModel found = checks.model("model", named);
    this.start = found.folder();
    this.model = found.model();
    if (model != null) {
      checks.require(() -> reader.accept(start, TrainingRun.adapter(training)));
    }
    boolean hasTokenizer = start != null && Tokenizer.existsIn(start.tokenizerPath());
    this.tokenizer = hasTokenizer ? checks.look(() -> Tokenizer.load(start.tokenizerPath())) : null;
    this.readsRows = model != null && hasTokenizer == (tokenizer != null);
    this.rows = new RunRows(training, tokenizer, checks::warn);
    if (tokenizer != null) {
      checks.fact(
          "tokenizer",
          "%s, %s tokens"
              .formatted(
                  tokenizer.origin().getFileName(), Format.count(tokenizer.vocabularySize())));
    } else if (readsRows) {
      checks.fact("tokenizer", "none; rows of token ids are taken");
    }
    if (folder != null) {
      String state =
          checkpoint != null
              ? "goes on from " + checkpoint
              : folder.isEmpty() ? "a new run" : "what the run before left there is replaced";
      checks.fact("output_dir", training.outputDir() + ": " + state);
    }
  }

  /** Takes what is found. */
  public Checks checks() {
    return checks;
  }

  /** The folder of the model to start from; null where it cannot be opened. */
  public ModelFolder start() {
    return start;
  }

  /** The decoder of the model that is trained; null where it cannot be read. */
  public DecoderSpec spec() {
    return model == null ? null : model.spec();
  }

  /** The tokenizer; null where there is none, or it cannot be read. */
  public Tokenizer tokenizer() {
    return tokenizer;
  }

  /** Whether model and tokenizer can be read, which everything about rows needs. */
  public boolean readsRows() {
    return readsRows;
  }

  /** See {@link TrainingRun#longestRow}; 0 where the model cannot be read. */
  public int longestRow() {
    return model == null ? 0 : rows.longest(model.spec());
  }

  /** See {@link TrainingRun#encoder}. */
  public RowEncoder encoder() {
    return rows.encoder(model.spec());
  }

  /** See {@link TrainingRun#promptEncoder}. */
  public RowEncoder promptEncoder(int maxNewTokens) {
    return rows.promptEncoder(model.spec(), maxNewTokens);
  }

  /** Reads the training rows, files as the run does. */
  public <T> void trainData(Function<List<Path>, EncodedDataset<T>> load) {
    train(load, data -> data);
  }

  private <T> T train(Function<List<Path>, T> load, Function<T, EncodedDataset<?>> rows) {
    T train = data("train data", training.datasetPath(), load, rows);
    if (train != null && resumed != null) {
      String hash = rows.apply(train).dataHash();
      checks.require(() -> TrainingRun.requireSameData(resumed.trainDataHash(), hash));
    }
    return train;
  }

  /** Reads the evaluation rows, where there are any. */
  public <T> void evalData(Function<List<Path>, EncodedDataset<T>> load) {
    if (!training.evalDatasetPath().isEmpty()) {
      data("eval data", training.evalDatasetPath(), load, data -> data);
    }
  }

  /**
   * Reads the training prompts, and the held-out ones where the run evaluates.
   *
   * @param load reads files as the run does
   * @param rows the prompts of what was read
   * @return the training prompts; null where they cannot be read
   */
  public <T> T prompts(
      int maxNewTokens,
      BiFunction<RowEncoder, List<Path>, T> load,
      Function<T, EncodedDataset<?>> rows) {
    Function<List<Path>, T> encoded = paths -> load.apply(promptEncoder(maxNewTokens), paths);
    T train = train(encoded, rows);
    if (training.effectiveEvalStrategy() != EvalStrategy.NO) {
      data("eval data", training.evalDatasetPath(), encoded, rows);
    }
    return train;
  }

  /**
   * Where the run goes on, looks whether the models that it reads but never changes are those that
   * it began with; {@code model_name_or_path} among them, which is opened beside the checkpoint.
   * Their files are read as a whole, so this comes last, and only where nothing stops the run.
   *
   * @param now of the files as they are
   */
  public void fixedModels(Supplier<FixedModels> now) {
    if (resumed == null) {
      return;
    }
    Checks.FoundModel began = checks.model("began with", Path.of(training.modelNameOrPath()));
    if (began.model() != null) {
      checks.require(() -> reader.accept(began.folder(), TrainingRun.adapter(training)));
    }
    if (!checks.foundProblems()) {
      checks.require(() -> now.get().requireSame(resumed.methodState()));
    }
  }

  private <T> T data(
      String name,
      List<Path> paths,
      Function<List<Path>, T> load,
      Function<T, EncodedDataset<?>> rows) {
    if (!paths.stream().allMatch(Files::isRegularFile)) {
      return null;
    }
    if (!readsRows) {
      checks.warn(name + ": not looked at, since its rows are read with model and tokenizer");
      return null;
    }
    return checks.data(name, () -> load.apply(paths), rows);
  }

  @Override
  public void close() {
    if (tokenizer != null) {
      tokenizer.close();
    }
  }
}
