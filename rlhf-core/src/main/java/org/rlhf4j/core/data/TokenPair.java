package org.rlhf4j.core.data;

/**
 * A preferred and a rejected document.
 *
 * @param chosen the preferred one
 * @param rejected the other
 * @param margin by how much the scores should at least differ; 0 where the data has no such column
 */
public record TokenPair(TokenRow chosen, TokenRow rejected, double margin) {}
