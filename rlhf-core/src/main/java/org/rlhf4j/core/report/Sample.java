package org.rlhf4j.core.report;

/**
 * One answer of the model, as shown in the sample table and stored in {@code samples/step-N.jsonl}.
 *
 * @param index the prompt's place in its file
 * @param prompt the prompt's text
 * @param response the answer's text
 * @param score the reward, or null where nothing scored it
 * @param kl KL to the start model in nats per response, or null where it was not measured
 * @param length the answer's length in tokens
 */
public record Sample(
    long index, String prompt, String response, Double score, Double kl, int length) {}
