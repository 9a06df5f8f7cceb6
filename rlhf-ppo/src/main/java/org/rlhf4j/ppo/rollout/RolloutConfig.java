package org.rlhf4j.ppo.rollout;

import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.core.data.Overlong;
import org.rlhf4j.core.generate.SamplingConfig;
import org.rlhf4j.reward.RewardSourceConfig;

/**
 * The keys of what responses are drawn and what they are worth. {@link #totalEpisodes()}, {@link
 * #cliprangeReward()} and {@link #missingEosPenalty()} are null where none is set.
 *
 * <p>Tokens are drawn from exactly the distribution whose log-probabilities are trained: {@code
 * temperature} divides the logits in both, and whatever else would bend the one and not the other
 * is refused.
 */
public record RolloutConfig(
    @Flattened RewardSourceConfig rewardSource,
    @Key(
            doc =
                "Takes the score of the data set's own answer (chosen or completion) off each score.",
            defaultValue = "false")
        boolean deltaReward,
    @Key(
            doc =
                "Responses that are drawn in all; none: num_train_epochs passes over the prompts, or"
                    + " as many as max_steps needs.",
            defaultValue = Key.NONE,
            atLeast = 1)
        Long totalEpisodes,
    @Key(
            doc = "Prompts of a roll-out.",
            defaultValue = "64",
            atLeast = 1,
            aliases = {"num_rollouts"})
        int rolloutBatchSize,
    @Key(
            doc = "Responses that are generated, and scored, side by side.",
            defaultValue = "64",
            atLeast = 1,
            aliases = {"chunk_size"})
        int generationBatchSize,
    @Key(doc = "Scores are held within ± this.", defaultValue = Key.NONE, above = 0)
        Double cliprangeReward,
    @Key(
            doc = "Taken off the score of a response that max_new_tokens, or the context, cut.",
            defaultValue = Key.NONE,
            atLeast = 0)
        Double missingEosPenalty,
    @Key(
            doc = "Taken off the score for each token of the response; negative: added.",
            defaultValue = "0")
        double lengthPenalty,
    @Key(
            doc =
                "Ends the run where the first ratio is not 1 (within 1e-5 in fp32 and 1e-3 in bf16 in"
                    + " the mean, within 1e-3 and 0.5 in the logarithm of a token's), the reference is"
                    + " not the policy at the start, sampler and scorer disagree, or a score depends on"
                    + " its batch; false for a reward that answers otherwise each time. A group method"
                    + " with one step for each roll-out has nothing to compare a ratio with: it is 1.",
            defaultValue = "true")
        boolean checkInvariants,
    @Flattened(heading = RolloutConfig.SAMPLING) SamplingConfig sampling)
    implements Checked {
  private static final String SAMPLING =
      "Sampling; online only temperature, max_new_tokens, stop and ignore_eos may differ from the"
          + " defaults";

  /** How scores are clipped and what is taken off them. */
  public RewardShaping shaping() {
    return new RewardShaping(
        cliprangeReward == null ? Double.POSITIVE_INFINITY : cliprangeReward,
        missingEosPenalty == null ? 0 : missingEosPenalty,
        lengthPenalty);
  }

  @Override
  public void check(Problems problems) {
    refuse(problems, sampling.topK() != 0, "top_k " + sampling.topK());
    refuse(problems, sampling.topP() != 1, "top_p " + sampling.topP());
    refuse(problems, sampling.minP() != 0, "min_p " + sampling.minP());
    refuse(
        problems,
        sampling.repetitionPenalty() != 1,
        "repetition_penalty " + sampling.repetitionPenalty());
    refuse(
        problems,
        sampling.noRepeatNgramSize() != 0,
        "no_repeat_ngram_size " + sampling.noRepeatNgramSize());
    refuse(problems, sampling.minNewTokens() != 0, "min_new_tokens " + sampling.minNewTokens());
    refuse(problems, sampling.suppressEos(), "suppress_eos true");
    refuse(problems, !sampling.doSample(), "do_sample false");
  }

  /** Checks these keys together with those of all trainers. */
  public void check(Problems problems, TrainingConfig training) {
    problems.require(
        sampling.maxNewTokens() < training.maxLength(),
        "max_new_tokens "
            + sampling.maxNewTokens()
            + " leaves no room for a prompt in max_length "
            + training.maxLength());
    problems.require(
        training.overlong() != Overlong.TRUNCATE,
        "overlong truncate: prompts are never cut; allowed: drop, error");
    problems.require(
        training.lora().loraDropout() == 0,
        "lora_dropout "
            + training.lora().loraDropout()
            + ": with dropout the ratio of new to old probability is not 1 to begin with; allowed: 0");
    if (totalEpisodes != null) {
      problems.warnUnused("where total_episodes is given", "num_train_epochs");
    }
    if (training.appendEos()) {
      problems.warn("append_eos has no effect: responses are trained on as they were sampled");
    }
  }

  private static void refuse(Problems problems, boolean isSet, String setting) {
    problems.require(
        !isSet,
        setting
            + ": online training draws tokens from the distribution that it trains, which is that"
            + " over the whole vocabulary; it can only be changed by temperature");
  }
}
