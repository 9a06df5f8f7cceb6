package org.rlhf4j.core.data;

/**
 * A prompt to generate from.
 *
 * @param index the row's number in the data set, from 0, bad and dropped rows counted
 * @param text the rendered prompt; empty if the row held token ids and there is no tokenizer
 * @param ids its token ids
 */
public record PromptRow(int index, String text, int[] ids) {}
