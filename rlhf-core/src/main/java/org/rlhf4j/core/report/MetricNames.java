package org.rlhf4j.core.report;

/**
 * The one list of metric names, as they stand in {@code metrics.jsonl}. TRL's names are used where
 * the meaning is the same.
 */
public final class MetricNames {
  // Every row. STEP counts finished optimizer steps, the first is 1; an evaluation before training
  // is step 0.
  public static final String STEP = "step";
  public static final String EPOCH = "epoch";

  // Training rows.
  public static final String LOSS = "loss";
  public static final String GRAD_NORM = "grad_norm";
  public static final String LEARNING_RATE = "learning_rate";
  public static final String MEAN_TOKEN_ACCURACY = "mean_token_accuracy";
  public static final String ENTROPY = "entropy";
  public static final String NUM_TOKENS = "num_tokens";

  // Reward model.
  public static final String ACCURACY = "accuracy";
  public static final String TIES = "ties";
  public static final String MARGIN = "margin";
  public static final String MIN_REWARD = "min_reward";
  public static final String MEAN_REWARD = "mean_reward";
  public static final String MAX_REWARD = "max_reward";

  // RAFT, one row per iteration.
  public static final String ITERATION = "iteration";
  public static final String REWARD_ALL_MEAN = "reward/all_mean";
  public static final String REWARD_SELECTED_MEAN = "reward/selected_mean";
  public static final String REWARD_BEST_OF_K = "reward/best_of_k";
  public static final String KL_TO_START = "kl/to_start";
  public static final String DISTINCT_2 = "diversity/distinct_2";
  public static final String COMPLETIONS_MEAN_LENGTH = "completions/mean_length";
  public static final String COMPLETIONS_CLIPPED_RATIO = "completions/clipped_ratio";
  public static final String SELECTION_SAMPLES = "selection/samples";
  public static final String SELECTION_KEPT = "selection/kept";
  public static final String SELECTION_DROPPED = "selection/dropped";
  public static final String SELECTION_DISCARDED = "selection/discarded";

  // PPO, one row per roll-out. KL and entropy are nats per response, of the distributions that were
  // sampled from; the KL is the estimator k1 whatever the penalty uses.
  public static final String EPISODE = "episode";
  public static final String OBJECTIVE_KL = "objective/kl";
  public static final String OBJECTIVE_KL_COEF = "objective/kl_coef";
  public static final String OBJECTIVE_ENTROPY = "objective/entropy";
  public static final String OBJECTIVE_NON_SCORE_REWARD = "objective/non_score_reward";
  public static final String OBJECTIVE_RLHF_REWARD = "objective/rlhf_reward";
  public static final String OBJECTIVE_SCORES = "objective/scores";
  public static final String OBJECTIVE_SCORES_STD = "objective/scores_std";
  public static final String NUM_EOS_TOKENS = "val/num_eos_tokens";
  public static final String EXPLAINED_VARIANCE = "val/explained_var";
  public static final String EARLY_STOPS = "policy/early_stops";
  public static final String EARLY_STOP_STEPS = "early_stop/steps";
  public static final String EARLY_STOP_PLANNED = "early_stop/planned_steps";
  public static final String EARLY_STOP_KL = "early_stop/kl";
  public static final String REFERENCE_DRIFT = "reference/drift";

  // PPO, training rows. The ratio is that of the new to the old probabilities, by token.
  public static final String POLICY_LOSS = "loss/policy_avg";
  public static final String VALUE_LOSS = "loss/value_avg";
  // TRL's: half the mean squared difference of log-probabilities.
  public static final String APPROXIMATE_KL = "policy/approxkl_avg";
  // The mean of ratio - 1 - log ratio, which target_kl looks at.
  public static final String KL_TO_OLD = "policy/kl_to_old_avg";
  public static final String POLICY_CLIP_FRACTION = "policy/clipfrac_avg";
  public static final String POLICY_ENTROPY = "policy/entropy_avg";
  public static final String VALUE_CLIP_FRACTION = "val/clipfrac_avg";
  public static final String RATIO = "val/ratio";
  public static final String RATIO_VARIANCE = "val/ratio_var";
  public static final String RATIO_TOKEN_VARIANCE = "val/ratio_token_var";
  // Of a token, over all steps of the row.
  public static final String LARGEST_LOG_RATIO = "val/log_ratio_max";

  // Group methods, one row per roll-out: the mean score, the mean of the groups' standard
  // deviations,
  // and the share of groups whose rewards are all equal, from which nothing is learned.
  public static final String REWARD = "reward";
  public static final String REWARD_STD = "reward_std";
  public static final String FRAC_REWARD_ZERO_STD = "frac_reward_zero_std";
  public static final String COMPLETIONS_MIN_LENGTH = "completions/min_length";
  public static final String COMPLETIONS_MAX_LENGTH = "completions/max_length";

  // REINFORCE++, one row per roll-out: the shares of responses and of tokens whose score, or KL, is
  // held within a bound.
  public static final String SCORES_CLIP_FRACTION = "objective/scores_clipfrac";
  public static final String KL_CLIP_FRACTION = "objective/kl_clipfrac";

  // Group methods, training rows. KL is GRPO's estimate in the loss, k3, in nats per token. Shares
  // are of tokens, for RLOO of responses; where each roll-out is learned from in one step nothing
  // can be clipped, and they are left out.
  public static final String KL = "kl";
  public static final String CLIP_RATIO_LOW = "clip_ratio/low_mean";
  public static final String CLIP_RATIO_HIGH = "clip_ratio/high_mean";
  public static final String CLIP_RATIO_REGION = "clip_ratio/region_mean";

  // Data.
  public static final String DATA_KEPT = "data/kept";
  public static final String DATA_DROPPED = "data/dropped";
  public static final String DATA_TRUNCATED = "data/truncated";
  public static final String DATA_PREFIX_MISMATCH = "data/prefix_mismatch";

  // Wall clock and memory: the only fields in which a repeated run may differ.
  public static final String ELAPSED_S = "elapsed_s";
  public static final String EPISODES_PER_SECOND = "eps";
  public static final String TOKENS_PER_SECOND = "tokens_per_second";

  /** Drawing a roll-out's responses. */
  public static final String TIMING_SAMPLE = "timing_s/sample";

  /** A roll-out's rewards, log-probabilities and values. */
  public static final String TIMING_SCORE = "timing_s/score";

  /** An optimizer step, the mean over the steps of the row. */
  public static final String TIMING_UPDATE = "timing_s/update";

  public static final String RSS_MIB = "rss_mib";
  public static final String PEAK_RSS_MIB = "peak_rss_mib";
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
