package org.rlhf4j.ppo.rollout;

/**
 * Where the time of a roll-out went, in seconds.
 *
 * @param sampling drawing responses
 * @param scoring rewards, log-probabilities and values
 */
public record Seconds(double sampling, double scoring) {}
