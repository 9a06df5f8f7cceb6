package org.rlhf4j.core.report;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.rlhf4j.core.checkpoint.AtomicFiles;

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
 * @param numInputTokensSeen tokens computed so far
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
    long numInputTokensSeen,
    Double bestMetric,
    String bestModelCheckpoint,
    List<Map<String, Object>> logHistory) {
  /** The file's name within a checkpoint folder. */
  public static final String FILE_NAME = "trainer_state.json";

  /** Writes the file into a checkpoint folder. */
  public void write(Path checkpointDir) {
    // Hugging Face passes the keys to its constructor: the set of keys is theirs, sorted as theirs.
    Map<String, Object> keys = new TreeMap<>();
    keys.put("best_metric", bestMetric);
    keys.put("best_model_checkpoint", bestModelCheckpoint);
    keys.put("epoch", epoch);
    keys.put("eval_steps", evalSteps);
    keys.put("global_step", globalStep);
    keys.put("is_hyper_param_search", false);
    keys.put("is_local_process_zero", true);
    keys.put("is_world_process_zero", true);
    keys.put("log_history", logHistory);
    keys.put("logging_steps", loggingSteps);
    keys.put("max_steps", maxSteps);
    keys.put("num_input_tokens_seen", numInputTokensSeen);
    keys.put("num_train_epochs", numTrainEpochs);
    keys.put("save_steps", saveSteps);
    keys.put("stateful_callbacks", Map.of());
    keys.put("total_flos", 0);
    keys.put("train_batch_size", trainBatchSize);
    keys.put("trial_name", null);
    keys.put("trial_params", null);
    AtomicFiles.write(checkpointDir.resolve(FILE_NAME), ReportFiles.prettyJson(keys));
  }

  /** Reads the file of a checkpoint folder. */
  public static TrainerState read(Path checkpointDir) {
    return ReportFiles.readJson(checkpointDir.resolve(FILE_NAME), TrainerState.class);
  }
}
