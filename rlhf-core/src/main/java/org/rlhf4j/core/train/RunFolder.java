package org.rlhf4j.core.train;

import com.fasterxml.jackson.databind.json.JsonMapper;
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
import java.util.stream.Stream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ResumeFrom;
import org.rlhf4j.core.config.TrainingConfig;

/** The output folder of a run: whose it is, where it stands, and which checkpoints it keeps. */
final class RunFolder {
  static final String CONFIG_FILE = "config.yaml";
  static final String PROGRESS_FILE = "trainer_progress.json";
  static final String OPTIMIZER_FILE = "optimizer.safetensors";
  static final String BEST_FOLDER = "best";
  private static final String CHECKPOINT = "checkpoint-";

  /** What a run itself writes at the top of its folder, and may therefore replace. */
  private static final Set<String> OWN_FILES =
      Set.of(
          CONFIG_FILE,
          "provenance.json",
          "metrics.jsonl",
          "curves.png",
          "curves.csv",
          "README.md",
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
          "vocab.json",
          "merges.txt",
          "reward_stats.json",
          "error.log");

  private static final Set<String> OWN_FOLDERS =
      Set.of("samples", "tensorboard", "iterations", BEST_FOLDER);

  private final Path path;

  private RunFolder(Path path) {
    this.path = path;
  }

  /**
   * Finds out whether the folder can be used: a new one, one whose files may be replaced, or one
   * whose run goes on.
   *
   * @param config of the run, with all its keys
   * @return the folder, and the checkpoint to continue from or null
   */
  static Opened open(Record config, TrainingConfig training) {
    RunFolder folder = new RunFolder(training.outputDir().toAbsolutePath().normalize());
    folder.requireFolder();
    AtomicFiles.removeLeftovers(folder.path);
    ResumeFrom from = training.resumeFromCheckpoint();
    if (from instanceof ResumeFrom.Checkpoint given) {
      if (!Files.exists(given.folder().resolve(PROGRESS_FILE))) {
        throw RlhfException.input(
            "resume_from_checkpoint: " + given.folder() + " is no checkpoint of a run");
      }
      return new Opened(folder, given.folder());
    }
    List<Path> content = folder.content();
    if (content.isEmpty()) {
      return new Opened(folder, null);
    }
    if (from instanceof ResumeFrom.Auto && Files.exists(folder.path.resolve(CONFIG_FILE))) {
      List<Path> checkpoints = folder.checkpoints();
      if (!checkpoints.isEmpty()) {
        return new Opened(folder, checkpoints.get(checkpoints.size() - 1));
      }
      folder.requireSameRun(config);
    } else if (!training.overwriteOutputDir()) {
      throw RlhfException.config(
          "output_dir: "
              + folder.path
              + " is not empty (it has "
              + content.get(0).getFileName()
              + "); choose another, continue its run with resume_from_checkpoint: auto, or replace"
              + " its files with overwrite_output_dir: true");
    }
    return new Opened(folder, null);
  }

  /** A folder, and the checkpoint to continue from or null. */
  record Opened(RunFolder folder, Path checkpoint) {}

  /** The folder itself. */
  Path path() {
    return path;
  }

  private void requireFolder() {
    try {
      Files.createDirectories(path);
    } catch (IOException e) {
      throw RlhfException.environment(
          "output_dir: cannot write to " + path + " (" + reason(e) + ")", e);
    }
    AtomicFiles.requireWritable(path.resolve(CONFIG_FILE));
  }

  private static String reason(IOException e) {
    if (e instanceof FileAlreadyExistsException) {
      return "a file of that name is in the way";
    }
    if (e instanceof FileSystemException system && system.getReason() != null) {
      return system.getReason();
    }
    return e.getClass().getSimpleName().replace("Exception", "");
  }

  private List<Path> content() {
    try (Stream<Path> entries = Files.list(path)) {
      return entries.sorted().toList();
    } catch (IOException e) {
      throw RlhfException.environment("output_dir: cannot read " + path, e);
    }
  }

  private void requireSameRun(Record config) {
    requireSameConfig(config, path.resolve(CONFIG_FILE));
  }

  /** Refuses to go on with settings that would make another run of it. */
  static <C extends Record> void requireSameConfig(C config, Path startedWith) {
    @SuppressWarnings("unchecked")
    Class<C> type = (Class<C>) config.getClass();
    C before = Config.of(type).file(startedWith).build();
    List<String> differences = Config.differencesThatForbidResume(before, config);
    if (!differences.isEmpty()) {
      throw RlhfException.config(String.join("\n", differences));
    }
  }

  /**
   * Deletes what an earlier run left. Its configuration goes last: as long as it is there, the
   * folder is known as that run's.
   */
  void clear() {
    List<Path> entries = new ArrayList<>(content());
    entries.sort(Comparator.comparing(entry -> entry.endsWith(CONFIG_FILE)));
    for (Path entry : entries) {
      String name = entry.getFileName().toString();
      boolean own =
          Files.isDirectory(entry)
              ? OWN_FOLDERS.contains(name) || name.startsWith(CHECKPOINT)
              : OWN_FILES.contains(name)
                  || name.matches("model-\\d+-of-\\d+\\.safetensors")
                  || name.matches("non-finite-step-\\d+\\.jsonl");
      if (own) {
        delete(entry);
      }
    }
  }

  private static void delete(Path tree) {
    try (Stream<Path> all = Files.walk(tree)) {
      for (Path entry : all.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(entry);
      }
    } catch (IOException e) {
      throw RlhfException.environment("cannot delete " + tree + " (" + reason(e) + ")", e);
    }
  }

  /** Complete checkpoints by step, the newest last. */
  List<Path> checkpoints() {
    List<Path> found = new ArrayList<>();
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(path, CHECKPOINT + "*")) {
      for (Path entry : entries) {
        if (Files.exists(entry.resolve(PROGRESS_FILE))) {
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

  /** Copies the best model's files to the top. */
  void bestToTop() {
    try (Stream<Path> files = Files.list(path.resolve(BEST_FOLDER))) {
      for (Path file : files.sorted().toList()) {
        AtomicFiles.copy(file, path.resolve(file.getFileName().toString()));
      }
    } catch (IOException e) {
      throw RlhfException.input("cannot read " + path.resolve(BEST_FOLDER) + ": " + reason(e), e);
    }
  }

  static JsonMapper json() {
    return new JsonMapper();
  }
}
