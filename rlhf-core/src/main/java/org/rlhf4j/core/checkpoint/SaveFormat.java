package org.rlhf4j.core.checkpoint;

/**
 * How a model's weights are saved.
 *
 * @param type what each number is stored as
 * @param maxShardBytes larger models are split into files of at most this size; a tensor that is
 *     larger has a file of its own
 */
public record SaveFormat(StoredType type, long maxShardBytes) {}
