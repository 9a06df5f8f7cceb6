/**
 * PPO whose policy, reference and value networks share one frozen trunk. What is here so far is its
 * arithmetic, as pure functions of plain arrays: log-probabilities in nats, one ragged row for each
 * response, and for losses flat arrays over the tokens of a mini-batch.
 */
package org.rlhf4j.ppo;
