package org.rlhf4j.core.train;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.BiConsumer;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.data.RowEncoder;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.LoraSpec;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ParameterSpec;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.text.Tokenizer;
import org.rlhf4j.core.torch.Torch;

/**
 * What a run would find at its start: its folder, the model that it starts from, the tokenizer, its
 * rows. They are opened as {@link TrainingRun} opens them, but no weights are loaded and nothing is
 * written. What would stop the run becomes a problem of the {@link Checks}.
 */
public final class RunCheck implements AutoCloseable {
  private final TrainingConfig training;
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
   * @param config all keys of the run; {@code training} is a part of it
   * @param reader looks whether the model can be trained so, as {@link
   *     org.rlhf4j.core.model.ModelLoader#checkCausalLm} does
   * @param checks takes what is found
   */
  public RunCheck(
      Record config,
      TrainingConfig training,
      BiConsumer<ModelFolder, LoraSpec> reader,
      Checks checks) {
    this.training = training;
    this.checks = checks;
    RunFolder.Look folder = checks.look(() -> RunFolder.look(config, training, checks::warn));
    Path checkpoint = folder == null ? null : folder.checkpoint();
    this.resumed = checkpoint == null ? null : checks.look(() -> TrainingPosition.read(checkpoint));
    if (checkpoint != null) {
      checks.require(
          () -> RunFolder.requireSameConfig(config, checkpoint.resolve(RunFolder.CONFIG_FILE)));
    }
    if (!training.device().equals("auto") && !training.device().equals("cpu")) {
      checks.require(() -> Torch.requireThere(training.device()));
    }
    Path named = checkpoint == null ? Path.of(training.modelNameOrPath()) : checkpoint;
    // Of what is not there at all, the keys' own check tells.
    this.start = Files.isDirectory(named) ? checks.look(() -> ModelFolder.open(named)) : null;
    this.model = start == null ? null : checks.look(() -> ModelFamilies.of(start));
    if (model != null) {
      checks.fact("model", line(start, model));
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

  /** A model in one line. */
  public static String line(ModelFolder folder, ModelFamilies.Model model) {
    DecoderSpec spec = model.spec();
    long parameters = model.parameters().stream().mapToLong(ParameterSpec::elements).sum();
    return "%s (%s, %d layers, width %d, %s parameters, vocabulary %s, context %s)"
        .formatted(
            folder.path(),
            spec.family(),
            spec.layers(),
            spec.hiddenSize(),
            Format.shortCount(parameters),
            Format.count(spec.vocabularySize()),
            Format.count(spec.maxPositions()));
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

  /**
   * Reads the training rows.
   *
   * @param load reads files as the run does
   * @return null where they cannot be read
   */
  public <T> EncodedDataset<T> trainData(Loader<T> load) {
    EncodedDataset<T> train = data("train data", training.datasetPath(), load);
    if (train != null && resumed != null) {
      checks.require(() -> TrainingRun.requireSameData(resumed.trainDataHash(), train.dataHash()));
    }
    return train;
  }

  /** Reads the evaluation rows, where there are any. */
  public <T> void evalData(Loader<T> load) {
    if (!training.evalDatasetPath().isEmpty()) {
      data("eval data", training.evalDatasetPath(), load);
    }
  }

  /**
   * Reads files as a run does.
   *
   * @param <T> what a row becomes
   */
  @FunctionalInterface
  public interface Loader<T> {
    /** Reads them in this order. */
    EncodedDataset<T> load(List<Path> paths);
  }

  private <T> EncodedDataset<T> data(String name, List<Path> paths, Loader<T> load) {
    if (!paths.stream().allMatch(Files::isRegularFile)) {
      return null;
    }
    if (!readsRows) {
      checks.warn(name + ": not looked at, since its rows are read with model and tokenizer");
      return null;
    }
    return checks.data(name, () -> load.load(paths));
  }

  @Override
  public void close() {
    if (tokenizer != null) {
      tokenizer.close();
    }
  }
}
