package org.rlhf4j.core.generate;

/**
 * One sampled response.
 *
 * @param text without special tokens and stop string; empty where there is no tokenizer
 * @param tokenIds the new tokens, with the end-of-sequence token that ended it
 * @param logProbs of each token under the distribution that was sampled, in nats; for greedy
 *     decoding under the model's own
 * @param finishReason why it ended
 */
public record Response(String text, int[] tokenIds, float[] logProbs, FinishReason finishReason) {}
