package org.rlhf4j.core.report;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * {@code trainer_state.json} of a checkpoint, with the keys of Hugging Face's {@code TrainerState}
 * so that its tools can read it. What resuming needs stands in {@code trainer_progress.json}.
 *
 * @param globalStep finished optimizer steps
 * @param maxSteps steps of the whole run
 * @param epoch passes over the data so far, fractional
 * @param numTrainEpochs passes planned
 * @param trainBatchSize rows per device and micro batch
 * @param loggingSteps steps between training rows
 * @param evalSteps steps between evaluations, or null without
 * @param saveSteps steps between checkpoints, or null where they are not saved by steps
 * @param bestMetric the best evaluation figure so far, or null
 * @param bestModelCheckpoint folder name of the checkpoint that had it, or null
 * @param logHistory rows of {@link MetricsLog#logHistory()}
 */
public record TrainerState(
    long globalStep,
    long maxSteps,
    double epoch,
    double numTrainEpochs,
    int trainBatchSize,
    int loggingSteps,
    Integer evalSteps,
    Integer saveSteps,
    Double bestMetric,
    String bestModelCheckpoint,
    List<Map<String, Object>> logHistory) {
  /** The file's name within a checkpoint folder. */
  public static final String FILE_NAME = "trainer_state.json";

  /** Writes the file into a checkpoint folder. */
  public void write(Path checkpointDir) {
    throw new UnsupportedOperationException();
  }

  /** Reads the file of a checkpoint folder. */
  public static TrainerState read(Path checkpointDir) {
    throw new UnsupportedOperationException();
  }
}
