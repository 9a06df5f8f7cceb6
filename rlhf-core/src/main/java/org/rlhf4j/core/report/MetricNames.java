package org.rlhf4j.core.report;

/**
 * The one list of metric names, as they stand in {@code metrics.jsonl}. TRL's names are used where
 * the meaning is the same; METRICS.md says of each exactly what it is, and where it differs. A row
 * of several steps has the means over them where nothing else is said.
 */
public final class MetricNames {
  /** Every row: finished optimizer steps; 0 before the first. */
  public static final String STEP = "step";

  /** Training rows: passes over the rows or prompts after the last step. */
  public static final String EPOCH = "epoch";

  /** What a step minimised, before its update. */
  public static final String LOSS = "loss";

  /** Norm of all gradients before clipping, of the last step of the row. */
  public static final String GRAD_NORM = "grad_norm";

  /** What the last step of the row used. */
  public static final String LEARNING_RATE = "learning_rate";

  /** Share of the target tokens that are the most likely token. */
  public static final String MEAN_TOKEN_ACCURACY = "mean_token_accuracy";

  /** Entropy of the distribution at a token, mean over target or response tokens, in nats. */
  public static final String ENTROPY = "entropy";

  /** Tokens that the steps of the whole run have read, without padding. */
  public static final String NUM_TOKENS = "num_tokens";

  /** Reward model: share of the pairs whose chosen side scores strictly higher. */
  public static final String ACCURACY = "accuracy";

  /** Reward model: pairs of a step, or of an evaluation, with two equal scores. */
  public static final String TIES = "ties";

  /** Reward model: score of the chosen minus that of the rejected side, mean over the pairs. */
  public static final String MARGIN = "margin";

  /** Reward model: lowest score of a side. */
  public static final String MIN_REWARD = "min_reward";

  /** Reward model: mean score over both sides. */
  public static final String MEAN_REWARD = "mean_reward";

  /** Reward model: highest score of a side. */
  public static final String MAX_REWARD = "max_reward";

  /** RAFT: number of the iteration, from 1. */
  public static final String ITERATION = "iteration";

  /** RAFT: mean score over all responses. */
  public static final String REWARD_ALL_MEAN = "reward/all_mean";

  /** RAFT: mean score over the responses that are trained on. */
  public static final String REWARD_SELECTED_MEAN = "reward/selected_mean";

  /** RAFT: highest score of a prompt's responses, mean over the prompts. */
  public static final String REWARD_BEST_OF_K = "reward/best_of_k";

  /** RAFT: KL to the start model by k1 at temperature 1, in nats per response. */
  public static final String KL_TO_START = "kl/to_start";

  /** Different pairs of neighbouring tokens over all such pairs, of all responses together. */
  public static final String DISTINCT_2 = "diversity/distinct_2";

  /** Mean tokens of a response, EOS included. */
  public static final String COMPLETIONS_MEAN_LENGTH = "completions/mean_length";

  /** Share of the responses that the token limit ended. */
  public static final String COMPLETIONS_CLIPPED_RATIO = "completions/clipped_ratio";

  /** RAFT: responses drawn. */
  public static final String SELECTION_SAMPLES = "selection/samples";

  /** RAFT: responses that are trained on. */
  public static final String SELECTION_KEPT = "selection/kept";

  /** RAFT: responses that are not. */
  public static final String SELECTION_DROPPED = "selection/dropped";

  /** RAFT: those of the dropped responses that the pattern was found in. */
  public static final String SELECTION_DISCARDED = "selection/discarded";

  /** Responses drawn to learn from since the run began, this roll-out's included. */
  public static final String EPISODE = "episode";

  /** KL to the reference by k1, whatever the penalty uses, in nats per response. */
  public static final String OBJECTIVE_KL = "objective/kl";

  /** Weight of the KL penalty in the rewards of the roll-out. */
  public static final String OBJECTIVE_KL_COEF = "objective/kl_coef";

  /** Minus the log-probability of a response, mean over the responses, in nats. */
  public static final String OBJECTIVE_ENTROPY = "objective/entropy";

  /** -β KL by the configured estimator, mean sum of a response. */
  public static final String OBJECTIVE_NON_SCORE_REWARD = "objective/non_score_reward";

  /** Scaled shaped score and -β KL, mean sum of a response. */
  public static final String OBJECTIVE_RLHF_REWARD = "objective/rlhf_reward";

  /** PPO: mean score before clipping, penalties and scaling. */
  public static final String OBJECTIVE_SCORES = "objective/scores";

  /** PPO: standard deviation of these scores, with divisor n. */
  public static final String OBJECTIVE_SCORES_STD = "objective/scores_std";

  /** PPO: responses that end with EOS. */
  public static final String NUM_EOS_TOKENS = "val/num_eos_tokens";

  /** PPO: 1 - Var(returns - values) / Var(returns) over the response tokens. */
  public static final String EXPLAINED_VARIANCE = "val/explained_var";

  /** PPO: roll-outs so far whose steps target_kl ended. */
  public static final String EARLY_STOPS = "policy/early_stops";

  /** PPO: steps made on a roll-out that ended early. */
  public static final String EARLY_STOP_STEPS = "early_stop/steps";

  /** PPO: steps planned on it. */
  public static final String EARLY_STOP_PLANNED = "early_stop/planned_steps";

  /** PPO: {@link #KL_TO_OLD} before the step that was not made. */
  public static final String EARLY_STOP_KL = "early_stop/kl";

  /** Sums over the reference's tensors that changed: 0, without the prefix in evaluations too. */
  public static final String REFERENCE_DRIFT = "reference/drift";

  /** PPO: clipped policy loss, mean over the response tokens of a step. */
  public static final String POLICY_LOSS = "loss/policy_avg";

  /** PPO: clipped value loss before its weight, likewise. */
  public static final String VALUE_LOSS = "loss/value_avg";

  /** PPO: half the squared log-ratio of new to old probability, likewise. */
  public static final String APPROXIMATE_KL = "policy/approxkl_avg";

  /** PPO: ratio - 1 - log ratio, likewise; what target_kl looks at. */
  public static final String KL_TO_OLD = "policy/kl_to_old_avg";

  /** PPO: share of the tokens whose clipped policy loss is strictly the larger one. */
  public static final String POLICY_CLIP_FRACTION = "policy/clipfrac_avg";

  /** PPO: entropy of the policy's distribution at a response token, in nats. */
  public static final String POLICY_ENTROPY = "policy/entropy_avg";

  /** PPO: share of the tokens whose clipped value loss is strictly the larger one. */
  public static final String VALUE_CLIP_FRACTION = "val/clipfrac_avg";

  /** Ratio of new to old probability, mean over tokens, for RLOO over responses. */
  public static final String RATIO = "val/ratio";

  /** PPO: variance of {@link #RATIO} over the steps of a row, with divisor n - 1. */
  public static final String RATIO_VARIANCE = "val/ratio_var";

  /** PPO: variance of the ratio over the tokens of a step, with divisor n. */
  public static final String RATIO_TOKEN_VARIANCE = "val/ratio_token_var";

  /** PPO: largest log-ratio of a token without its sign, over the steps of a row. */
  public static final String LARGEST_LOG_RATIO = "val/log_ratio_max";

  /** Group methods: mean score before clipping and penalties. */
  public static final String REWARD = "reward";

  /** Group methods: standard deviation of these scores over all responses, divisor n - 1. */
  public static final String REWARD_STD = "reward_std";

  /** Group methods: share of the groups whose rewards are all equal. */
  public static final String FRAC_REWARD_ZERO_STD = "frac_reward_zero_std";

  /** Group methods: tokens of the shortest response. */
  public static final String COMPLETIONS_MIN_LENGTH = "completions/min_length";

  /** Group methods: tokens of the longest response. */
  public static final String COMPLETIONS_MAX_LENGTH = "completions/max_length";

  /** REINFORCE++: share of the responses whose score is held within a bound. */
  public static final String SCORES_CLIP_FRACTION = "objective/scores_clipfrac";

  /** REINFORCE++: share of the tokens whose KL is held within a bound. */
  public static final String KL_CLIP_FRACTION = "objective/kl_clipfrac";

  /** GRPO: KL to the reference in the loss, by k3, in nats per token. */
  public static final String KL = "kl";

  /** Group methods: share of the tokens (RLOO: responses) clipped under the range. */
  public static final String CLIP_RATIO_LOW = "clip_ratio/low_mean";

  /** Group methods: share of the tokens (RLOO: responses) clipped over the range. */
  public static final String CLIP_RATIO_HIGH = "clip_ratio/high_mean";

  /** Group methods: the sum of both. */
  public static final String CLIP_RATIO_REGION = "clip_ratio/region_mean";

  /** First training row: rows that are used. */
  public static final String DATA_KEPT = "data/kept";

  /** First training row: rows left out. */
  public static final String DATA_DROPPED = "data/dropped";

  /** First training row: rows used that were cut. */
  public static final String DATA_TRUNCATED = "data/truncated";

  /** First training row: rows used whose prompt alone has other token ids. */
  public static final String DATA_PREFIX_MISMATCH = "data/prefix_mismatch";

  /** Every row: seconds since the run was started or resumed. */
  public static final String ELAPSED_S = "elapsed_s";

  /** Episodes since the run was started or resumed, over these seconds. */
  public static final String EPISODES_PER_SECOND = "eps";

  /** Tokens of a row's steps over the time since the row before, but for evaluations and saving. */
  public static final String TOKENS_PER_SECOND = "tokens_per_second";

  /** Seconds for drawing the responses of a roll-out. */
  public static final String TIMING_SAMPLE = "timing_s/sample";

  /** Seconds for rewards, log-probabilities and values of a roll-out. */
  public static final String TIMING_SCORE = "timing_s/score";

  /** Seconds of an optimizer step, mean over the steps of the row. */
  public static final String TIMING_UPDATE = "timing_s/update";

  /** Resident memory in MiB. */
  public static final String RSS_MIB = "rss_mib";

  /** Most resident memory so far, in MiB. */
  public static final String PEAK_RSS_MIB = "peak_rss_mib";

  /** Used Java heap in MiB. */
  public static final String HEAP_MIB = "heap_mib";

  /** Put before a metric's name when it was measured on the evaluation set. */
  public static final String EVAL_PREFIX = "eval_";

  private MetricNames() {}

  /** The name of {@code metric} on the evaluation set, as {@code eval_loss} for {@code loss}. */
  public static String eval(String metric) {
    return EVAL_PREFIX + metric;
  }

  /** Whether a row of several steps has the largest of their numbers, not the mean. */
  public static boolean isMaximum(String field) {
    return field.equals(LARGEST_LOG_RATIO);
  }

  /** Whether a row of several steps has the variance of their numbers, and one of one step none. */
  public static boolean isVariance(String field) {
    return field.equals(RATIO_VARIANCE);
  }

  /** Whether the field depends on the clock or the machine's memory, not on the training. */
  public static boolean isWallClock(String field) {
    return field.equals(ELAPSED_S)
        || field.equals(EPISODES_PER_SECOND)
        || field.equals(TOKENS_PER_SECOND)
        || field.startsWith("timing_s/")
        || field.endsWith("_mib");
  }
}
