/**
 * PPO whose policy, reference and value networks share one frozen trunk: {@link
 * org.rlhf4j.ppo.PpoTrainer}. Its arithmetic stands beside it as pure functions of plain arrays:
 * log-probabilities in nats, one ragged row for each response, and for losses flat arrays over the
 * tokens of a mini-batch.
 */
package org.rlhf4j.ppo;
