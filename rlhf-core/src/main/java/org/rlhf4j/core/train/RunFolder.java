package org.rlhf4j.core.train;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ResumeFrom;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.report.Console;

/** The output folder of a run: whose it is, where it stands, and which checkpoints it keeps. */
final class RunFolder implements AutoCloseable {
  static final String CONFIG_FILE = "config.yaml";
  static final String PROGRESS_FILE = "trainer_progress.json";
  static final String OPTIMIZER_FILE = "optimizer.safetensors";
  private static final String CHECKPOINT = "checkpoint-";
  private static final Pattern CHECKPOINT_NAME = Pattern.compile("checkpoint-\\d{1,18}");
  private static final Pattern OWN_NUMBERED =
      Pattern.compile("model-\\d+-of-\\d+\\.safetensors|non-finite-step-\\d+\\.jsonl");

  /** What a run itself writes at the top of its folder, and may therefore replace. */
  private static final Set<String> OWN_FILES =
      Set.of(
          CONFIG_FILE,
          "provenance.json",
          "metrics.jsonl",
          "curves.png",
          "curves.csv",
          "README.md",
          "adapter_config.json",
          "adapter_model.safetensors",
          "config.json",
          "generation_config.json",
          "model.safetensors",
          "model.safetensors.index.json",
          "tokenizer.json",
          "tokenizer_config.json",
          "tokenizer.model",
          "special_tokens_map.json",
          "added_tokens.json",
          "chat_template.jinja",
          "chat_template.json",
          "vocab.json",
          "merges.txt",
          "reward_stats.json",
          "value_head.safetensors",
          "error.log");

  private static final Set<String> OWN_FOLDERS =
      Set.of("samples", "tensorboard", "iterations", BestModel.FOLDER);

  private final Path path;
  private RunLock lock;

  private RunFolder(Path path) {
    this.path = path;
  }

  /**
   * Looks at the folder: a new one, one to be cleared, or one whose run goes on. Nothing is deleted
   * yet but what a crash left half-written, once it is clear that the folder is this run's.
   *
   * @param config of the run, with all its keys
   * @return the folder, locked, which the caller closes; and the checkpoint to continue from or
   *     null
   * @throws RlhfException if it is not this run's, or another process is writing to it
   */
  static Opened open(Record config, TrainingConfig training, Console console) {
    RunFolder folder = new RunFolder(training.outputDir().toAbsolutePath().normalize());
    folder.requireNoInputs(config);
    folder.createFolder();
    folder.lock = RunLock.take(folder.path, console::warn);
    Opened opened = null;
    try {
      AtomicFiles.requireWritable(folder.path.resolve(CONFIG_FILE));
      opened = open(folder, config, training);
      return opened;
    } finally {
      if (opened == null) {
        folder.close();
      }
    }
  }

  private static Opened open(RunFolder folder, Record config, TrainingConfig training) {
    folder.requireOwn(training);
    AtomicFiles.removeLeftovers(folder.path);
    return new Opened(folder, folder.continued(config, training));
  }

  /**
   * Finds out what {@link #open} would do, and leaves everything as it is.
   *
   * @param warnings of what a run would only warn of
   * @throws RlhfException as there
   */
  static Look look(Record config, TrainingConfig training, Consumer<String> warnings) {
    RunFolder folder = new RunFolder(training.outputDir().toAbsolutePath().normalize());
    folder.requireNoInputs(config);
    AtomicFiles.hindrance(folder.path)
        .ifPresent(
            reason -> {
              throw RlhfException.environment(
                  "output_dir: cannot write to %s (%s)".formatted(folder.path, reason), null);
            });
    RunLock.requireFree(folder.path, warnings);
    folder.requireOwn(training);
    return new Look(folder.content().isEmpty(), folder.continued(config, training));
  }

  /**
   * What a run would find.
   *
   * @param isEmpty whether there is nothing in its folder
   * @param checkpoint that it goes on from; null for a new run
   */
  record Look(boolean isEmpty, Path checkpoint) {}

  /** Requires that the folder is empty, this run's, or free to be replaced. */
  private void requireOwn(TrainingConfig training) {
    ResumeFrom from = training.resumeFromCheckpoint();
    List<Path> content = content();
    if (from instanceof ResumeFrom.Checkpoint given) {
      if (!Files.exists(given.folder().resolve(PROGRESS_FILE))) {
        throw RlhfException.input(
            "resume_from_checkpoint: " + given.folder() + " is no checkpoint of a run");
      }
      Path run = given.folder().toAbsolutePath().normalize().getParent();
      if (!content.isEmpty() && !run.equals(path)) {
        throw notEmpty(content);
      }
      return;
    }
    boolean aRun = Files.exists(path.resolve(CONFIG_FILE));
    if (content.isEmpty() || (from instanceof ResumeFrom.Auto && aRun)) {
      return;
    }
    if (!training.overwriteOutputDir()) {
      throw notEmpty(content);
    }
    if (!aRun) {
      throw RlhfException.config(
          "overwrite_output_dir: "
              + path
              + " holds no run (it has no "
              + CONFIG_FILE
              + "), so nothing in it is replaced; choose another folder");
    }
  }

  /** The checkpoint that the run goes on from, null for a new run. */
  private Path continued(Record config, TrainingConfig training) {
    ResumeFrom from = training.resumeFromCheckpoint();
    if (from instanceof ResumeFrom.Checkpoint given) {
      return given.folder();
    }
    Path startedWith = path.resolve(CONFIG_FILE);
    if (!(from instanceof ResumeFrom.Auto) || !Files.exists(startedWith)) {
      return null;
    }
    List<Path> checkpoints = checkpoints();
    if (!checkpoints.isEmpty()) {
      return checkpoints.get(checkpoints.size() - 1);
    }
    requireSameConfig(config, startedWith);
    return null;
  }

  private RlhfException notEmpty(List<Path> content) {
    return RlhfException.config(
        "output_dir: "
            + path
            + " is not empty (it has "
            + content.get(0).getFileName()
            + "); choose another, continue its run with resume_from_checkpoint: auto, or replace"
            + " its files with overwrite_output_dir: true");
  }

  /** A run that reads from its own output folder could delete what it reads. */
  private void requireNoInputs(Record config) {
    Config.toMap(config)
        .forEach(
            (key, value) -> {
              boolean reads = key.equals("dataset_path") || key.equals("eval_dataset_path");
              if (reads || key.endsWith("model_name_or_path")) {
                for (Object one : value instanceof List<?> many ? many : List.of(value)) {
                  Path input = Path.of(one.toString()).toAbsolutePath().normalize();
                  if (input.startsWith(path)) {
                    throw RlhfException.config(
                        "output_dir: "
                            + path
                            + " holds "
                            + key
                            + " "
                            + one
                            + "; a run must not write where it reads");
                  }
                }
              }
            });
  }

  /** Deletes what an earlier run wrote; the file that marks a run goes last. */
  void clear() {
    for (Path entry : content()) {
      String name = entry.getFileName().toString();
      boolean own =
          Files.isDirectory(entry)
              ? OWN_FOLDERS.contains(name) || CHECKPOINT_NAME.matcher(name).matches()
              : OWN_FILES.contains(name) || OWN_NUMBERED.matcher(name).matches();
      if (own && !name.equals(CONFIG_FILE)) {
        delete(entry);
      }
    }
    Path marker = path.resolve(CONFIG_FILE);
    if (Files.exists(marker)) {
      delete(marker);
    }
  }

  /** Deletes the checkpoints after a step: those of a branch that is given up. */
  void dropAfter(long step) {
    for (Path checkpoint : checkpoints()) {
      if (stepOf(checkpoint) > step) {
        delete(checkpoint);
      }
    }
  }

  /** A folder, and the checkpoint to continue from or null. */
  record Opened(RunFolder folder, Path checkpoint) {}

  /** The folder itself. */
  Path path() {
    return path;
  }

  private void createFolder() {
    try {
      Files.createDirectories(path);
    } catch (IOException e) {
      throw RlhfException.environment(
          "output_dir: cannot write to " + path + " (" + reason(e) + ")", e);
    }
  }

  /** Gives the folder free for other runs. */
  @Override
  public void close() {
    lock.close();
  }

  static String reason(IOException e) {
    if (e instanceof FileAlreadyExistsException) {
      return "a file of that name is in the way";
    }
    if (e instanceof FileSystemException system && system.getReason() != null) {
      return system.getReason();
    }
    return e.getClass().getSimpleName().replace("Exception", "");
  }

  /** What is in it, but for the lock and what a crash left half-written. */
  private List<Path> content() {
    if (!Files.exists(path)) {
      return List.of();
    }
    try (Stream<Path> entries = Files.list(path)) {
      return entries
          .filter(entry -> !entry.getFileName().toString().startsWith(".rlhf4j-"))
          .sorted()
          .toList();
    } catch (IOException e) {
      throw RlhfException.environment("output_dir: cannot read " + path, e);
    }
  }

  /** Refuses to go on with settings that would make another run of it. */
  static <C extends Record> void requireSameConfig(C config, Path startedWith) {
    @SuppressWarnings("unchecked")
    Class<C> type = (Class<C>) config.getClass();
    // Its warnings are those of the configuration at hand, which were given.
    C before = Config.of(type).file(startedWith).onWarning(line -> {}).build();
    List<String> differences = Config.differencesThatForbidResume(before, config);
    if (!differences.isEmpty()) {
      throw RlhfException.config(String.join("\n", differences));
    }
  }

  private static void delete(Path entry) {
    if (Files.isDirectory(entry)) {
      AtomicFiles.deleteFolder(entry);
      return;
    }
    try {
      Files.delete(entry);
    } catch (IOException e) {
      throw RlhfException.environment("cannot delete " + entry + " (" + reason(e) + ")", e);
    }
  }

  /** Complete checkpoints by step, the newest last. */
  List<Path> checkpoints() {
    List<Path> found = new ArrayList<>();
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(path, CHECKPOINT + "*")) {
      for (Path entry : entries) {
        boolean named = CHECKPOINT_NAME.matcher(entry.getFileName().toString()).matches();
        if (named && Files.exists(entry.resolve(PROGRESS_FILE))) {
          found.add(entry);
        }
      }
    } catch (IOException e) {
      throw RlhfException.environment("output_dir: cannot read " + path, e);
    }
    found.sort(Comparator.comparingLong(RunFolder::stepOf));
    return found;
  }

  private static long stepOf(Path checkpoint) {
    return Long.parseLong(checkpoint.getFileName().toString().substring(CHECKPOINT.length()));
  }

  /** Where the checkpoint of a step goes. */
  Path checkpoint(long step) {
    return path.resolve(CHECKPOINT + step);
  }

  /** Deletes the oldest checkpoints. */
  void rotate(int keep) {
    List<Path> all = checkpoints();
    for (int i = 0; keep > 0 && i < all.size() - keep; i++) {
      AtomicFiles.deleteFolder(all.get(i));
    }
  }
}
