package org.rlhf4j.core.config;

import java.nio.file.Path;
import java.util.List;
import org.rlhf4j.core.data.Overlong;
import org.rlhf4j.core.text.Template;

/**
 * The keys that every trainer has. A component of each method's record, which gives the defaults
 * that differ by method.
 */
public record TrainingConfig(
    @Key(
            heading = "Model, rows and output",
            doc = "Folder of the model to start from.",
            existing = Key.Existing.MODEL_FOLDER,
            aliases = {"model_path"})
        String modelNameOrPath,
    @Key(
            doc = "Training rows: one or more .jsonl or .jsonl.gz files.",
            existing = Key.Existing.FILE,
            aliases = {"dataset_name", "train_file"})
        List<Path> datasetPath,
    @Key(
            doc = "Folder for the trained model, checkpoints and metrics.",
            mayChangeOnResume = true,
            aliases = {"checkpoint_dir"})
        Path outputDir,
    @Key(
            doc = "Evaluation rows: one or more .jsonl or .jsonl.gz files.",
            defaultValue = Key.NONE,
            existing = Key.Existing.FILE,
            mayChangeOnResume = true,
            aliases = {"eval_dataset_name"})
        List<Path> evalDatasetPath,
    @Key(
            heading = "Numbers, device and seed",
            doc = "Numbers to compute with.",
            defaultValue = "auto")
        DtypeChoice dtype,
    @Key(
            doc = "Numbers that saved weights are written in.",
            defaultValue = "source",
            mayChangeOnResume = true)
        SaveDtype saveDtype,
    @Key(
            doc = "Saved weights that are larger are split into files of at most this size.",
            defaultValue = "5GB",
            mayChangeOnResume = true)
        ByteSize maxShardSize,
    @Key(
            doc = "Where to compute; N counts the GPUs from 0.",
            defaultValue = "auto",
            choices = {"auto", "cpu", "cuda", "cuda:N"})
        String device,
    @Key(doc = "Every random choice is a function of it.", defaultValue = "42", atLeast = 0)
        long seed,
    @Key(
            heading = "Batches and the length of the run",
            doc = "Rows (reward model: pairs) in one forward pass.",
            defaultValue = "8",
            atLeast = 1)
        int perDeviceTrainBatchSize,
    @Key(
            doc = "Forward passes whose gradients make up one optimizer step.",
            defaultValue = "1",
            atLeast = 1)
        int gradientAccumulationSteps,
    @Key(doc = "Passes over the training rows; may be a fraction.", defaultValue = "1", above = 0)
        double numTrainEpochs,
    @Key(
            doc = "Ends the run after so many optimizer steps; -1: no limit.",
            defaultValue = "-1",
            atLeast = -1)
        int maxSteps,
    @Key(heading = "Learning rate and optimizer", doc = "Peak learning rate of AdamW.", atLeast = 0)
        double learningRate,
    @Key(doc = "How the learning rate moves after warm-up.") LrSchedulerType lrSchedulerType,
    @Key(
            doc = "Steps over which the rate rises from 0; excludes warmup_ratio.",
            defaultValue = "0",
            atLeast = 0)
        int warmupSteps,
    @Key(
            doc = "Share of all steps over which the rate rises from 0; excludes warmup_steps.",
            defaultValue = "0",
            atLeast = 0,
            below = 1)
        double warmupRatio,
    @Key(
            doc = "Lowest factor on the peak rate, for cosine_with_min_lr.",
            defaultValue = "0",
            atLeast = 0,
            atMost = 1)
        double minLrRate,
    @Key(
            doc = "Decoupled weight decay, on everything but norms and biases.",
            defaultValue = "0",
            atLeast = 0)
        double weightDecay,
    @Key(
            doc = "AdamW's decay of the gradient's mean.",
            defaultValue = "0.9",
            atLeast = 0,
            below = 1)
        double adamBeta1,
    @Key(
            doc = "AdamW's decay of the gradient's square.",
            defaultValue = "0.999",
            atLeast = 0,
            below = 1)
        double adamBeta2,
    @Key(doc = "AdamW's guard against division by 0.", defaultValue = "1e-8", above = 0)
        double adamEpsilon,
    @Key(
            doc = "Gradients with a larger global norm are scaled down to it; 0: no clipping.",
            defaultValue = "1.0",
            atLeast = 0)
        double maxGradNorm,
    @Key(
            heading = "How rows are read",
            doc = "Tokens that a row may have.",
            atLeast = 1,
            aliases = {"max_seq_length", "seq_length", "block_size"})
        int maxLength,
    @Key(doc = "What becomes of rows with more tokens; always counted.") Overlong overlong,
    @Key(doc = "Adds the end-of-sequence token where the text does not end with it.")
        boolean appendEos,
    @Key(
            doc =
                "How messages and dialogues are written out; model: the model's own chat template.",
            defaultValue = "model")
        Template template,
    @Key(doc = "Draws a new order of the rows in every epoch.", defaultValue = "true")
        boolean shuffleDataset,
    @Key(
            doc = "Unusable rows that are left out, counted, before the run refuses to start.",
            defaultValue = "0",
            atLeast = 0)
        int maxBadRows,
    @Key(
            heading = "Memory and adapters",
            doc = "Recomputes each block in the backward pass: less memory, more time.",
            defaultValue = "false",
            aliases = {"gradient_checkpointing"})
        boolean activationCheckpointing,
    @Flattened LoraConfig lora,
    @Key(
            heading = "Metrics, evaluation and checkpoints",
            doc = "Optimizer steps between two rows of metrics.",
            defaultValue = "10",
            atLeast = 1,
            mayChangeOnResume = true)
        int loggingSteps,
    @Key(
            doc = "When to score the evaluation set; auto: steps if there is one.",
            defaultValue = "auto",
            mayChangeOnResume = true,
            aliases = {"evaluation_strategy"})
        EvalStrategy evalStrategy,
    @Key(
            doc = "Optimizer steps between two evaluations.",
            defaultValue = "100",
            atLeast = 1,
            mayChangeOnResume = true,
            aliases = {"eval_interval"})
        int evalSteps,
    @Key(
            doc = "When to write checkpoints; the final model is always written.",
            defaultValue = "steps",
            mayChangeOnResume = true)
        SaveStrategy saveStrategy,
    @Key(
            doc = "Optimizer steps between two checkpoints.",
            defaultValue = "500",
            atLeast = 1,
            mayChangeOnResume = true,
            aliases = {"checkpoint_interval"})
        int saveSteps,
    @Key(
            doc = "Newest checkpoints that are kept; 0: all.",
            defaultValue = "2",
            atLeast = 0,
            mayChangeOnResume = true)
        int saveTotalLimit,
    @Key(
            doc = "Ends with the model of the best evaluation instead of the last.",
            defaultValue = "false",
            mayChangeOnResume = true)
        boolean saveBest,
    @Key(
            doc =
                "Continues a run; auto: from the newest checkpoint in output_dir, if there is one.",
            defaultValue = "none",
            mayChangeOnResume = true)
        ResumeFrom resumeFromCheckpoint,
    @Key(
            doc = "Allows a non-empty output_dir of another run.",
            defaultValue = "false",
            mayChangeOnResume = true)
        boolean overwriteOutputDir,
    @Key(
            doc = "Where metrics go besides metrics.jsonl.",
            defaultValue = "none",
            mayChangeOnResume = true)
        ReportTo reportTo)
    implements Checked {

  /** When to evaluate, {@link EvalStrategy#AUTO} resolved: one of the other three. */
  public EvalStrategy effectiveEvalStrategy() {
    if (evalStrategy != EvalStrategy.AUTO) {
      return evalStrategy;
    }
    return evalDatasetPath.isEmpty() ? EvalStrategy.NO : EvalStrategy.STEPS;
  }

  @Override
  public void check(Problems problems) {
    problems.require(
        warmupSteps == 0 || warmupRatio == 0,
        "warmup_steps " + warmupSteps + " and warmup_ratio " + warmupRatio + " exclude each other");
    problems.require(maxSteps != 0, "max_steps: found 0, allowed: -1 (no limit) or at least 1");
    if (minLrRate != 0 && lrSchedulerType != LrSchedulerType.COSINE_WITH_MIN_LR) {
      problems.warn("min_lr_rate has no effect unless lr_scheduler_type is cosine_with_min_lr");
    }
    if (lrSchedulerType == LrSchedulerType.CONSTANT && (warmupSteps != 0 || warmupRatio != 0)) {
      problems.warn("lr_scheduler_type constant has no warm-up; constant_with_warmup has");
    }
    if (effectiveEvalStrategy() != EvalStrategy.STEPS) {
      problems.warnUnused("unless eval_strategy is steps", "eval_steps");
    }
    if (saveStrategy != SaveStrategy.STEPS) {
      problems.warnUnused("unless save_strategy is steps", "save_steps");
    }
    boolean evaluates = effectiveEvalStrategy() != EvalStrategy.NO;
    problems.require(
        !evaluates || !evalDatasetPath.isEmpty(),
        "eval_strategy " + Choices.text(evalStrategy) + " needs eval_dataset_path");
    problems.require(!saveBest || evaluates, "save_best true needs evaluations: eval_dataset_path");
  }
}
