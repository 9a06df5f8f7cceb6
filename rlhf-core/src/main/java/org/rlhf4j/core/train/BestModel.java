package org.rlhf4j.core.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.checkpoint.AtomicFolder;
import org.rlhf4j.core.report.Console;

/**
 * {@code best/}: the model of the best evaluation so far, with the evaluation that it had. A
 * checkpoint names that evaluation too, so a model that was written after the checkpoint is told
 * from the one that the checkpoint means.
 */
final class BestModel {
  static final String FOLDER = "best";
  private static final String EVALUATION_FILE = "evaluation.json";
  private static final JsonMapper JSON = new JsonMapper();

  private final Path folder;
  private Found found;

  /**
   * An evaluation.
   *
   * @param step after which it was made
   * @param score as the evaluation found it
   */
  record Found(long step, double score) {}

  BestModel(Path outputDir) {
    this.folder = outputDir.resolve(FOLDER);
  }

  /** The best evaluation whose model is kept; null for none. */
  Found found() {
    return found;
  }

  /**
   * Goes on from a checkpoint. Where the folder holds another model than the checkpoint means, the
   * search begins anew, which is said.
   *
   * @param recorded by the checkpoint, or null
   */
  void resume(Found recorded, Console console) {
    Found stored = stored();
    if (recorded != null && recorded.equals(stored)) {
      found = recorded;
    } else if (recorded != null) {
      console.warn(
          "save_best: the best model of the checkpoint, of step %d, %s; the search begins anew"
              .formatted(
                  recorded.step(),
                  stored == null
                      ? "is not in " + folder
                      : "was replaced by that of step " + stored.step()));
    }
  }

  private Found stored() {
    Path file = folder.resolve(EVALUATION_FILE);
    if (!Files.exists(file)) {
      return null;
    }
    try {
      return JSON.readValue(file.toFile(), Found.class);
    } catch (IOException e) {
      throw RlhfException.input(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  /**
   * Keeps the model where its evaluation is the best so far.
   *
   * @param moreIsBetter whether a greater score is the better one
   */
  void offer(Found evaluation, boolean moreIsBetter, TrainingRun.ModelSaver saver) {
    int sign = moreIsBetter ? -1 : 1;
    if (found != null && sign * evaluation.score() >= sign * found.score()) {
      return;
    }
    try (AtomicFolder written = AtomicFolder.create(folder)) {
      saver.write(written.path());
      AtomicFiles.write(
          written.path().resolve(EVALUATION_FILE), JSON.writeValueAsBytes(evaluation));
      written.commit();
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a record of numbers can be written", e);
    }
    found = evaluation;
  }

  /** Copies the model's files to the top of the run's folder. */
  void copyTo(Path top) {
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.sorted().toList()) {
        String name = file.getFileName().toString();
        if (!name.equals(EVALUATION_FILE)) {
          AtomicFiles.copy(file, top.resolve(name));
        }
      }
    } catch (IOException e) {
      throw RlhfException.input("cannot read " + folder + ": " + e.getMessage(), e);
    }
  }
}
