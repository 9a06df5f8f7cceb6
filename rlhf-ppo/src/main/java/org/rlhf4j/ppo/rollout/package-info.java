/**
 * What PPO and the group methods have in common: prompts become responses ({@link
 * org.rlhf4j.ppo.rollout.Responses}), responses get rewards ({@link
 * org.rlhf4j.ppo.rollout.Rewards}), and what must hold of every online run is checked ({@link
 * org.rlhf4j.ppo.rollout.Invariants}).
 */
package org.rlhf4j.ppo.rollout;
