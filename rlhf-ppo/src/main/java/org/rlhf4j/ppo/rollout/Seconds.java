package org.rlhf4j.ppo.rollout;

/**
 * Where the time of a roll-out went.
 *
 * @param sampling drawing
 * @param scoring rewards, log-probabilities and values
 */
public record Seconds(double sampling, double scoring) {}
