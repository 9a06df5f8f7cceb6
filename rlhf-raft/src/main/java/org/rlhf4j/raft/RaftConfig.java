package org.rlhf4j.raft;

import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.EvalStrategy;
import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Flattened.Default;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.Overlong;
import org.rlhf4j.core.generate.SamplingConfig;
import org.rlhf4j.reward.RewardSourceConfig;

/**
 * The keys of {@code raft}: reward-ranked fine-tuning.
 *
 * <p>{@code max_length} holds prompt and response together: a prompt may have {@code max_length -
 * max_new_tokens} tokens. The held-out prompts are answered before the first and after every
 * iteration, whatever {@code eval_steps} says. Checkpoints are written at the end of every
 * iteration, and with {@code save_strategy: steps} within it too. A falling learning rate falls
 * over the steps that are planned; discarded responses make them fewer.
 */
public record RaftConfig(
    @Flattened(
            value = {
              @Default(key = "learning_rate", value = "2e-5"),
              @Default(key = "lr_scheduler_type", value = "constant"),
              @Default(key = "max_length", value = "512"),
              @Default(key = "overlong", value = "drop"),
              @Default(key = "append_eos", value = "false")
            },
            without = {"num_train_epochs"})
        TrainingConfig training,
    @Flattened(heading = "Reward") RewardSourceConfig rewardSource,
    @Key(
            heading = "Iterations",
            doc = "Rounds of sampling, scoring, selecting and training.",
            defaultValue = "20",
            atLeast = 1,
            aliases = {"num_raft_iteration"})
        int numRaftIterations,
    @Key(
            doc = "Prompts per iteration.",
            defaultValue = "2048",
            atLeast = 1,
            aliases = {"raft_batch_size"})
        int promptsPerIteration,
    @Key(doc = "Responses per prompt, K.", defaultValue = "8", atLeast = 1) int samplesPerPrompt,
    @Flattened(heading = "What is selected") SelectionConfig best,
    @Key(
            heading = "Training on it",
            doc = "Passes over the kept samples in each iteration.",
            defaultValue = "2",
            atLeast = 1,
            aliases = {"num_train_epochs"})
        int epochsPerIteration,
    @Key(
            doc =
                "Stops after so many iterations without a new best mean reward, held-out where there"
                    + " is an evaluation set; 0: never.",
            defaultValue = "0",
            atLeast = 0)
        int earlyStoppingPatience,
    @Key(
            heading = "Sampling",
            doc = "Responses that are generated, and scored, side by side.",
            defaultValue = "64",
            atLeast = 1)
        int generationBatchSize,
    @Flattened({@Default(key = "temperature", value = "0.85")}) SamplingConfig sampling)
    implements Checked {
  @Override
  public void check(Problems problems) {
    problems.require(
        sampling.doSample() || samplesPerPrompt == 1,
        "samples_per_prompt "
            + samplesPerPrompt
            + " needs do_sample true: greedy responses are all the same");
    problems.require(
        sampling.maxNewTokens() < training.maxLength(),
        "max_new_tokens "
            + sampling.maxNewTokens()
            + " leaves no room for a prompt in max_length "
            + training.maxLength());
    problems.require(
        training.overlong() != Overlong.TRUNCATE,
        "overlong truncate: prompts are never cut; allowed: drop, error");
    EvalStrategy evaluation = training.effectiveEvalStrategy();
    if (evaluation != EvalStrategy.NO) {
      String why = "but to switch evaluation on: held-out prompts are answered every iteration";
      problems.warnUnused(why, "eval_strategy");
    }
    if (evaluation == EvalStrategy.STEPS) {
      problems.warnUnused("here: held-out prompts are answered every iteration", "eval_steps");
    }
    if (training.appendEos()) {
      problems.warn("append_eos has no effect: responses are trained on as they were sampled");
    }
  }
}
