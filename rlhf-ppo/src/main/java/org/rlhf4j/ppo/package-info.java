/**
 * PPO whose policy, reference and value networks share one frozen trunk. Nothing is here yet; until
 * it is, use {@code rlhf-raft} to optimise a policy against a reward model.
 */
package org.rlhf4j.ppo;
